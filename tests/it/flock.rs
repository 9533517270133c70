//! The kernel lock is flock(2), and flock(1) is a full peer.

use std::fs::File;
use std::process::{Command, Stdio};

use pidlockfile::Error;

use crate::support::peer::Peer;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, require};

fn flock_is_installed() -> bool {
    Command::new("flock").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// `cat` runs until its input ends, and so long flock(1) holds the lock.
fn flock_until_told(sandbox: &Sandbox) -> Program {
    let mut flock = Command::new("flock");
    Program::start(flock.arg(sandbox.path()).args(["sh", "-c", "echo locked; cat"]))
}

#[test]
fn flock_1_is_refused_while_we_hold_the_lock() {
    require!(flock_is_installed(), "flock(1) is not installed");
    let sandbox = Sandbox::new();
    let flock =
        || Command::new("flock").args(["-n", "-E", "99"]).arg(sandbox.path()).arg("true").status();
    let guard = sandbox.lock();
    assert_eq!(flock().unwrap().code(), Some(99));
    guard.unlock().unwrap();
    assert_eq!(flock().unwrap().code(), Some(0));
}

#[test]
fn we_are_refused_while_flock_1_holds_the_lock() {
    require!(flock_is_installed(), "flock(1) is not installed");
    let sandbox = Sandbox::new();
    let mut flock = flock_until_told(&sandbox);
    assert_eq!(flock.line(), "locked");
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid: None, kernel_locked: true, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(flock.end().0.success());
    sandbox.assert_free_and_clean();
}

/// The limit that the crate page states: flock(1) does not check whether its file still has a name.
#[test]
fn a_flock_1_that_waited_for_us_gets_a_file_without_a_name_and_keeps_nobody_out() {
    require!(flock_is_installed(), "flock(1) is not installed");
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut flock = flock_until_told(&sandbox);
    // Wait until the kernel lists it: in /proc/locks, `->` before an entry marks a waiter.
    let is_waiting = || {
        let waiter = format!(" {} ", flock.pid());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&waiter))
    };
    while !is_waiting() {
        std::thread::yield_now();
    }
    owner.must("unlock");
    assert_eq!(flock.line(), "locked");
    assert!(!sandbox.path().exists());
    sandbox.assert_free_and_clean();
    assert!(flock.end().0.success());
}

#[test]
fn a_shared_flock_keeps_us_out_too() {
    let sandbox = Sandbox::new();
    sandbox.plant("");
    let reader = File::open(sandbox.path()).unwrap();
    reader.try_lock_shared().unwrap();
    assert!(matches!(sandbox.lockfile().try_lock(), Err(Error::Busy { kernel_locked: true, .. })));
    reader.unlock().unwrap();
    sandbox.assert_free_and_clean();
}
