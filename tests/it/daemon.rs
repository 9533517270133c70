//! examples/daemon.rs as a process, from start to end.

use std::fs;
use std::process::{self, Stdio};

use nix::sys::signal::Signal;

use crate::support::example;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, record_of};

fn start(sandbox: &Sandbox) -> Program {
    Program::start(example::command("daemon").arg(sandbox.path()).stderr(Stdio::piped()))
}

fn working(daemon: &Program) -> String {
    format!("working as process {}", daemon.pid())
}

#[test]
fn a_daemon_that_holds_the_lock_ends_cleanly_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        let mut daemon = start(&sandbox);
        assert_eq!(daemon.line(), working(&daemon));
        assert_eq!(sandbox.record(), record_of(daemon.pid()));
        daemon.signal(signal);
        let (status, printed, complaint) = daemon.end();
        assert!(status.success(), "{status}: {complaint}");
        assert_eq!(printed, ["stopped"]);
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn a_daemon_that_waits_ends_cleanly_on_a_signal_and_leaves_the_lock_alone() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        let held = sandbox.lock();
        let mut daemon = start(&sandbox);
        assert_eq!(daemon.line(), format!("waiting for process {}", process::id()));
        daemon.signal(signal);
        let (status, printed, complaint) = daemon.end();
        assert!(status.success(), "{status}: {complaint}");
        assert_eq!(printed.len(), 1);
        assert!(printed[0].starts_with("cancelled after "), "{printed:?}");
        held.verify().unwrap();
    }
}

#[test]
fn a_daemon_says_once_whom_it_waits_for_and_takes_over() {
    let sandbox = Sandbox::new();
    let mut first = start(&sandbox);
    assert_eq!(first.line(), working(&first));
    let mut second = start(&sandbox);
    assert_eq!(second.line(), format!("waiting for process {}", first.pid()));
    first.signal(Signal::SIGTERM);
    assert!(first.end().0.success());
    assert_eq!(second.line(), working(&second));
    second.signal(Signal::SIGTERM);
    assert!(second.end().0.success());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_daemon_takes_over_from_one_that_was_killed() {
    let sandbox = Sandbox::new();
    let mut first = start(&sandbox);
    assert_eq!(first.line(), working(&first));
    let mut second = start(&sandbox);
    assert_eq!(second.line(), format!("waiting for process {}", first.pid()));
    first.signal(Signal::SIGKILL);
    drop(first); // reaps it: without /proc a zombie counts as alive
    assert_eq!(second.line(), working(&second));
    assert_eq!(sandbox.record(), record_of(second.pid()));
}

#[test]
fn a_daemon_whose_file_is_removed_notices_and_ends() {
    let sandbox = Sandbox::new();
    let mut daemon = start(&sandbox);
    assert_eq!(daemon.line(), working(&daemon));
    fs::remove_file(sandbox.path()).unwrap();
    let (status, _, complaint) = daemon.end();
    assert_eq!(status.code(), Some(1));
    let begin = format!("Error: {} was removed, replaced or ", sandbox.path().display());
    assert!(complaint.starts_with(&begin), "{complaint}");
}
