//! examples/control.rs as a process: its output, its effect and its exit status.

use std::path::Path;

use crate::holder::{owner_with_a_child_that_stays, shell_that_locks};
use crate::support::example;
use crate::support::peer::Peer;
use crate::support::program::Program;
use crate::support::sandbox::{Bystander, DEAD_PID, Sandbox, record_of};

/// Its exit status and its whole output.
fn control(path: &Path, arguments: &[&str]) -> (i32, String) {
    let output = example::command("control").arg(path).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[track_caller]
fn assert_says(sandbox: &Sandbox, arguments: &[&str], status: i32, words: &[&str]) {
    let (code, said) = control(&sandbox.path(), arguments);
    assert_eq!(code, status, "{said}");
    for words in words {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.contains("Unproven") && !said.contains('{'), "for people: {said}");
}

#[test]
fn the_exit_status_of_status_follows_the_lsb() {
    let sandbox = Sandbox::new();
    assert_says(&sandbox, &["status"], 3, &["nobody holds"]);
    sandbox.plant(record_of(DEAD_PID));
    assert_says(&sandbox, &["status"], 1, &["nobody holds", "a crash has left"]);
    let owner = Peer::holding(&sandbox.path());
    let who = format!("process {} holds", owner.pid());
    assert_says(&sandbox, &["status"], 0, &[&who, ", for 0 d 00:0", "peer::peer --exact"]);
    drop(owner);
    let script = Bystander::new();
    sandbox.plant(record_of(script.pid()));
    assert_says(&sandbox, &["status"], 4, &["nobody has the kernel lock"]);
    assert_says(&sandbox, &["start"], 2, &["usage: control PATH status"]);
}

#[test]
fn a_daemon_that_handles_sigterm_is_stopped() {
    let sandbox = Sandbox::new();
    let mut daemon = Program::start(example::command("daemon").arg(sandbox.path()));
    assert_eq!(daemon.line(), format!("working as process {}", daemon.pid()));
    let sent = format!("sent SIGTERM to process {}", daemon.pid());
    assert_says(&sandbox, &["stop"], 0, &[&sent, "and the lock is free"]);
    assert!(daemon.end().0.success());
    assert_says(&sandbox, &["stop"], 0, &["nobody holds"]);
}

#[test]
fn a_daemon_that_ignores_sigterm_is_killed_if_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let mut daemon = Peer::at(&sandbox.path());
    daemon.must("ignore_sigterm");
    daemon.must("try_lock");
    let still = format!("process {} still holds", daemon.pid());
    assert_says(&sandbox, &["stop", "-w", "0.2"], 1, &["sent SIGTERM", &still]);
    daemon.must("verify");
    let sent = format!("sent SIGKILL to process {}", daemon.pid());
    assert_says(
        &sandbox,
        &["stop", "-k", "-w", "0.2"],
        0,
        &[&sent, "has ended, and the lock is free"],
    );
    assert_eq!(daemon.end_by_signal(), Some(9));
}

#[test]
fn a_daemon_that_re_execs_on_sigterm_has_released_the_lock_and_still_runs() {
    let sandbox = Sandbox::new();
    let mut daemon = Peer::at(&sandbox.path());
    daemon.must("exec_on_sigterm");
    daemon.must("try_lock");
    assert_says(&sandbox, &["stop"], 0, &["still runs, and the lock is free"]);
    assert_says(&sandbox, &["stop"], 0, &["nobody holds"]);
}

#[test]
fn a_daemon_that_takes_its_lock_along_when_it_re_execs_is_still_the_holder() {
    let sandbox = Sandbox::new();
    let mut shell = shell_that_locks(
        &sandbox,
        r#"trap 'exec sh -c "trap \"\" TERM; echo again; read -r line"' TERM
        echo locked; while :; do read -r line; done"#,
    );
    assert_eq!(shell.line(), "locked");
    let still = format!("process {} still holds", shell.pid());
    assert_says(&sandbox, &["stop", "-w", "0.5"], 1, &[&still]);
    assert_eq!(shell.line(), "again");
    assert_says(&sandbox, &["stop", "-k", "-w", "0.5"], 0, &["has ended, and the lock is free"]);
}

#[test]
fn a_lock_that_another_process_has_taken_meanwhile_counts_as_stopped_and_it_lives() {
    let sandbox = Sandbox::new();
    let mut first = Peer::holding(&sandbox.path());
    let mut next = Peer::at(&sandbox.path());
    next.tell("wait");
    // Either is possible: the lock is free, or the next process has it.
    let (code, said) = control(&sandbox.path(), &["stop"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("sent SIGTERM to process {}", first.pid())), "{said}");
    assert!(!said.contains(&format!("SIGTERM to process {}", next.pid())), "{said}");
    assert_eq!(first.end_by_signal(), Some(15));
    assert_eq!(next.answer(), "ok");
    next.must("verify");
}

#[test]
fn a_killed_owners_child_that_keeps_the_lock_is_not_stopped_and_the_text_says_why() {
    let sandbox = Sandbox::new();
    let (_owner, _child) = owner_with_a_child_that_stays(&sandbox);
    let said = ["sent SIGTERM", "it has ended, and a child of it"];
    assert_says(&sandbox, &["stop", "-w", "0.2"], 1, &said);
}
