//! Processes that are pid 1, each in a container of its own, and a lock file that outlives the container.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pidlockfile::Error;

use crate::support::example;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, is_root, require};

/// examples/service.rs as the first process of a new pid namespace. With unshare(1) it dies, too.
fn container(sandbox: &Sandbox) -> Program {
    let service = example::command("service");
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
    Program::start(unshare.arg(service.get_program()).arg(sandbox.path()))
}

fn await_record(sandbox: &Sandbox) {
    while !fs::read(sandbox.path()).is_ok_and(|record| record == b"1\n") {
        std::thread::yield_now();
    }
}

#[test]
fn a_container_that_was_killed_gets_its_lock_again_although_its_pid_is_1_again() {
    require!(is_root(), "needs root, to make pid namespaces");
    let sandbox = Sandbox::new();
    let first = container(&sandbox);
    await_record(&sandbox);
    first.signal(Signal::SIGKILL);
    first.end();
    assert_eq!(sandbox.record(), "1\n", "it was left");
    let second = container(&sandbox);
    loop {
        match sandbox.lockfile().holder() {
            Ok(None) => std::thread::yield_now(),
            Err(Error::Unproven { pid: Some(1), .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    second.signal(Signal::SIGKILL);
    second.end();
}

#[test]
fn of_two_containers_with_one_volume_the_second_waits_although_both_have_pid_1() {
    require!(is_root(), "needs root, to make pid namespaces");
    let sandbox = Sandbox::new();
    let first = container(&sandbox);
    await_record(&sandbox);
    let mut second = container(&sandbox);
    let line = second.line();
    let truth = "is locked by this process (1), or by the one with its pid in another container";
    assert!(line.starts_with("waiting: ") && line.ends_with(truth), "{line}");
    assert!(matches!(sandbox.lockfile().holder(), Err(Error::Unproven { .. })));
    for container in [first, second] {
        container.signal(Signal::SIGKILL);
        container.end();
    }
}

/// The kernel drops a SIGTERM for a pid 1 that does not handle it.
#[test]
fn a_service_that_is_pid_1_ends_on_sigterm_and_removes_its_file() {
    require!(is_root(), "needs root, to make pid namespaces");
    let sandbox = Sandbox::new();
    let container = container(&sandbox);
    await_record(&sandbox);
    let unshare = container.pid();
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
    let first = children.unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
    assert!(container.end().0.success());
    assert!(!sandbox.path().exists());
}
