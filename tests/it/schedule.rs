//! Another process acts at every point: never two owners, and no owner is reported where there is none.
//!
//! One process is stopped before each of its system calls in turn, and this one does its worst then.

use std::fs::File;

use nix::libc;
use pidlockfile::Error;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, DEAD_PID, PUBLISHING, START, Sandbox, record_of};
use crate::support::trace::{Traced, require_traced};

/// Runs `test` with a peer stopped before each system call of `try_lock`: for each initial state, and each way
/// of publishing.
fn at_each_call_of_try_lock(test: impl Fn(&Sandbox, Traced, &str)) {
    for (start, plant) in START.iter().enumerate() {
        for refused in PUBLISHING {
            for nth in 0.. {
                let sandbox = Sandbox::new();
                plant(&sandbox);
                let peer = Peer::without(&sandbox.path(), refused);
                let mut traced = require_traced!(Traced::new(peer));
                if !traced.run_to_nth("try_lock", nth) {
                    assert!(nth >= 6, "only {nth} system calls were seen");
                    break;
                }
                test(&sandbox, traced, &format!("start {start}, {refused:?}, before call {nth}"));
            }
        }
    }
}

#[test]
fn exactly_one_of_two_attempts_at_once_gets_the_lock() {
    at_each_call_of_try_lock(|sandbox, stopped, point| match sandbox.lockfile().try_lock() {
        Ok(guard) => {
            let mut peer = stopped.go_on();
            let answer = peer.answer();
            assert!(answer.starts_with("Busy {"), "{point}: {answer}");
            guard.verify().unwrap();
            guard.unlock().unwrap();
            sandbox.assert_free_and_clean();
        }
        Err(Error::Busy { kernel_locked: true, .. }) => {
            let mut peer = stopped.go_on();
            assert_eq!(peer.answer(), "ok", "{point}");
            assert!(sandbox.lockfile().try_lock().is_err(), "{point}");
            peer.must("unlock");
            sandbox.assert_free_and_clean();
        }
        Err(error) => panic!("{point}: {error}"),
    });
}

#[test]
fn an_owner_that_came_and_went_in_between_blocks_nobody() {
    at_each_call_of_try_lock(|sandbox, stopped, point| {
        if let Ok(guard) = sandbox.lockfile().try_lock() {
            guard.unlock().unwrap();
        }
        let mut peer = stopped.go_on();
        assert_eq!(peer.answer(), "ok", "{point}");
        peer.must("unlock");
        sandbox.assert_free_and_clean();
    });
}

#[test]
fn a_release_never_shows_the_name_without_its_kernel_lock() {
    for release in ["unlock", "drop"] {
        for nth in 0.. {
            let sandbox = Sandbox::new();
            let mut traced = require_traced!(Traced::new(Peer::holding(&sandbox.path())));
            if !traced.run_to_nth(release, nth) {
                assert!(nth >= 5, "only {nth} system calls were seen");
                break;
            }
            let name_was_there = sandbox.path().exists();
            match sandbox.lockfile().try_lock() {
                Ok(guard) => {
                    assert!(!name_was_there, "taken over before call {nth} of {release}");
                    assert_eq!(traced.go_on().answer(), "ok");
                    guard.unlock().unwrap();
                }
                Err(Error::Busy { kernel_locked: true, .. }) => {
                    assert_eq!(traced.go_on().answer(), "ok");
                }
                Err(error) => panic!("before call {nth} of {release}: {error}"),
            }
            sandbox.assert_free_and_clean();
        }
    }
}

#[test]
fn a_waiter_that_probes_a_removed_file_makes_nobody_else_see_a_lock() {
    require_able!(LinkCountOfRemovedFiles);
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let probed_by_another = File::open(sandbox.path()).unwrap();
    let traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_flock));

    owner.must("unlock");
    probed_by_another.try_lock().unwrap();
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
}

#[test]
fn a_stale_file_that_was_replaced_before_its_removal_keeps_its_successor() {
    let sandbox = Sandbox::new();
    sandbox.plant(record_of(DEAD_PID));
    let traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_flock));

    let guard = sandbox.lock();
    let mut peer = traced.go_on();
    assert!(peer.answer().starts_with("Busy {"));
    guard.verify().unwrap();
}

/// Makes a peer that runs `fork_in_a_thread_when_told` fork, and waits until it has.
fn fork_now(sandbox: &Sandbox) {
    File::options().write(true).open(sandbox.path().with_extension("tell")).unwrap();
    File::open(sandbox.path().with_extension("forked")).unwrap();
}

#[test]
fn a_child_forked_in_the_middle_of_a_probe_keeps_no_kernel_lock() {
    require_able!(Fifos);
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    let mut peer = Peer::at(&sandbox.path());
    peer.must("fork_in_a_thread_when_told");
    let mut traced = require_traced!(Traced::new(peer));
    // It holds the kernel lock of a file that it will find owned.
    assert!(traced.run_to("try_lock", |call| call.number == libc::SYS_pread64));
    fork_now(&sandbox);
    let mut peer = traced.go_on();
    assert!(peer.answer().starts_with("Busy {"));

    // The child still has a copy of the descriptor, and yet the lock is free:
    drop(bystander);
    sandbox.lock().unlock().unwrap();
}

#[test]
fn a_child_forked_in_the_middle_of_a_creation_that_is_given_up_keeps_no_kernel_lock() {
    require_able!(Fifos);
    let sandbox = Sandbox::new();
    let mut peer = Peer::without(&sandbox.path(), &["tmpfile"]);
    peer.must("fork_in_a_thread_when_told");
    let traced = require_traced!(Traced::before(peer, "try_lock", libc::SYS_flock));
    // A script wrote its pid into the empty file and ended.
    sandbox.plant(record_of(DEAD_PID));
    fork_now(&sandbox);
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
    peer.must("unlock");
}

#[test]
fn a_child_forked_in_the_middle_of_a_look_at_a_directory_keeps_no_kernel_lock_of_it() {
    require_able!(Fifos);
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path()).unwrap();
    let mut peer = Peer::at(&sandbox.path());
    peer.must("fork_in_a_thread_when_told");
    let mut traced = require_traced!(Traced::new(peer));
    let mut locked = false;
    assert!(traced.run_to("try_lock", |call| {
        std::mem::replace(&mut locked, call.number == libc::SYS_flock)
    }));
    fork_now(&sandbox);
    let mut peer = traced.go_on();
    assert!(peer.answer().starts_with("NotAFile {"));
    File::open(sandbox.path()).unwrap().try_lock().unwrap();
}

/// A script can still race with us in the step between the proof and the removal, and only there.
#[test]
fn a_record_that_a_script_writes_before_the_proof_is_honoured() {
    let sandbox = Sandbox::new();
    sandbox.plant(record_of(DEAD_PID));
    let script = Bystander::new();
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    let mut looks = 0;
    assert!(traced.run_to("try_lock", |call| {
        looks += usize::from(call.number == libc::SYS_newfstatat);
        looks == 2
    }));
    sandbox.plant(record_of(script.pid()));
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {"), "{answer}");
    assert_eq!(sandbox.record(), record_of(script.pid()));
}
