//! Something changes at every step of `holder`: the asker is stopped before each of its system calls in turn.

use nix::libc;

use crate::holder::namespaces::{SHARED_PID, container, visitor};
use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, is_root, require};
use crate::support::trace::{Traced, require_traced};

/// The least number of system calls that a proof can take.
const LEAST_CALLS: usize = 20;

/// Stops an asker, in one container with an owner, before each of its system calls, makes `change` there, and
/// judges its answer.
fn at_each_call_in_a_container(change: impl Fn(&mut Peer), judge: impl Fn(&mut Peer, &str, usize)) {
    for nth in 0.. {
        let sandbox = Sandbox::new();
        let mut inside = container(&sandbox);
        inside.must("child child try_lock");
        let asker = visitor(&sandbox, &mut inside);
        let mut traced = require_traced!(Traced::child_of(asker));
        if !traced.run_to_nth("child kill_holder", nth) {
            assert!(nth >= LEAST_CALLS, "only {nth} system calls were seen");
            break;
        }
        change(&mut inside);
        let answer = traced.go_on().answer();
        judge(&mut inside, &answer, nth);
    }
}

#[test]
fn a_process_that_gets_the_pid_at_any_step_is_not_harmed() {
    require!(is_root(), "needs root, to choose a pid");
    let recycle = |inside: &mut Peer| {
        inside.must("child kill_child");
        inside.must(&format!("child fork_with_pid {SHARED_PID}"));
        // The stranger is as much like the owner as possible.
        inside.must("child child open_for_writing");
    };
    at_each_call_in_a_container(recycle, |inside, answer, nth| {
        assert!(is_of_one_that_ended(answer) || answer == "77", "call {nth}: {answer}");
        assert_eq!(inside.ask("child child pid"), SHARED_PID.to_string(), "call {nth}: it lives");
    });
}

#[test]
fn a_holder_that_ends_at_any_step_is_no_holder_afterwards() {
    require!(is_root(), "needs root, to make a pid namespace");
    at_each_call_in_a_container(
        |inside| inside.must("child kill_child"),
        |inside, answer, nth| {
            assert!(is_of_one_that_ended(answer) || answer == "77", "call {nth}: {answer}");
            assert_eq!(inside.ask("child holder"), "nobody", "call {nth}");
        },
    );
}

/// `nobody` or a doubt; or its pid if it ended after the proof, and then the signal reached nobody.
fn is_of_one_that_ended(answer: &str) -> bool {
    answer == "nobody" || answer.starts_with("Unproven {")
}

/// Stops an asker before each system call and passes the lock on there. The answer must be the new holder, or
/// the old one.
fn at_each_call_while_it_passes(pass_on: impl Fn(&Sandbox, &mut Peer) -> (Option<Peer>, String)) {
    for nth in 0.. {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        owner.must("fork");
        let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
        if !traced.run_to_nth("holder", nth) {
            assert!(nth >= LEAST_CALLS, "only {nth} system calls were seen");
            break;
        }
        let (_successor, next) = pass_on(&sandbox, &mut owner);
        let mut asker = traced.go_on();
        let answer = asker.answer();
        assert!(answer == owner.pid().to_string() || answer == next, "call {nth}: {answer}");
        assert_eq!(asker.ask("holder"), next, "call {nth}");
    }
}

#[test]
fn an_adoption_at_any_step_shows_the_parent_or_the_child() {
    at_each_call_while_it_passes(|_, owner| {
        owner.must("child adopt");
        owner.must("drop");
        (None, owner.ask("pid_of_child"))
    });
}

#[test]
fn a_lock_that_changes_hands_at_any_step_shows_one_of_the_two() {
    at_each_call_while_it_passes(|sandbox, owner| {
        owner.must("unlock");
        let next = Peer::holding(&sandbox.path());
        let pid = next.pid().to_string();
        (Some(next), pid)
    });
}

/// The parent still has the file open, with the kernel lock that it shares with the child.
#[test]
fn an_adoption_before_the_look_at_the_parent_shows_the_child() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("fork");
    let traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "holder", libc::SYS_statx));
    owner.must("child adopt");
    assert_eq!(traced.go_on().answer(), owner.ask("pid_of_child"));
}

/// Its number may then belong to another process, and so does all that /proc shows.
#[test]
fn a_process_that_ends_after_the_look_at_its_files_is_not_the_holder() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    assert!(traced.run_to("holder", |call| call.number == libc::SYS_ppoll), "the last step");
    owner.kill();
    assert_eq!(traced.go_on().answer(), "nobody");
}
