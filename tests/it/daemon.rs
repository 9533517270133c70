//! examples/daemon.rs as a process, from its start to its end.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{self, Child, ChildStdout, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::example;
use crate::sandbox::{Sandbox, record_of};

struct Daemon {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    fn start(sandbox: &Sandbox) -> Daemon {
        let mut child = example::command("daemon")
            .arg(sandbox.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Daemon { child, lines }
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        self.lines.next().expect("the daemon ended").unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end. What it still printed, and what it complained of.
    fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        let printed = self.lines.by_ref().map(Result::unwrap).collect();
        let mut complaint = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        (self.child.wait().unwrap(), printed, complaint)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn working(daemon: &Daemon) -> String {
    format!("working as process {}", daemon.child.id())
}

#[test]
fn a_daemon_that_holds_the_lock_ends_cleanly_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        let mut daemon = Daemon::start(&sandbox);
        assert_eq!(daemon.line(), working(&daemon));
        assert_eq!(sandbox.record(), record_of(daemon.child.id()));
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
        let mut daemon = Daemon::start(&sandbox);
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
    let mut first = Daemon::start(&sandbox);
    assert_eq!(first.line(), working(&first));
    let mut second = Daemon::start(&sandbox);
    assert_eq!(second.line(), format!("waiting for process {}", first.child.id()));
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
    let mut first = Daemon::start(&sandbox);
    assert_eq!(first.line(), working(&first));
    let mut second = Daemon::start(&sandbox);
    assert_eq!(second.line(), format!("waiting for process {}", first.child.id()));
    first.signal(Signal::SIGKILL);
    first.end(); // reaped: a zombie is alive to those without /proc
    assert_eq!(second.line(), working(&second));
    assert_eq!(sandbox.record(), record_of(second.child.id()));
}

#[test]
fn a_daemon_whose_file_is_removed_notices_and_ends() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    assert_eq!(daemon.line(), working(&daemon));
    fs::remove_file(sandbox.path()).unwrap();
    let (status, _, complaint) = daemon.end();
    assert_eq!(status.code(), Some(1));
    assert!(complaint.contains("RogueDeletion"), "{complaint}");
}
