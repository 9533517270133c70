//! Many short-lived peers, so that pids are recycled and attempts collide.

use std::fs::{self, File};
use std::{process, thread};

use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork, pause};
use pidlockfile::{Error, Lockfile};

use crate::support::commands::Action::Says;
use crate::support::commands::{Command, number};
use crate::support::process::exit_at_once;
use crate::support::sandbox::{DEAD_PID, lock_spinning, record_of};

pub const COMMANDS: &[Command] = &[
    ("crowd", Says(|peer, _| be_a_crowd(&peer.lockfile))),
    ("stop_all", Says(|peer, _| stop_all(&peer.lockfile))),
    ("start_daemons", Says(|peer, cycles| start_daemons(&peer.lockfile, number(cycles)))),
    ("take_turns", Says(|peer, argument| take_turns(&peer.lockfile, argument))),
    ("ask_on", Says(|peer, _| ask_on(&peer.lockfile))),
];

/// This file ends the loops.
fn is_over(lockfile: &Lockfile) -> bool {
    lockfile.path().with_extension("over").exists()
}

/// Forks strangers, each with the lock file open for writing, until the loops end. Returns their number, and
/// how many of them got a signal.
fn be_a_crowd(lockfile: &Lockfile) -> String {
    let (mut forked, mut alive, mut signalled) = (0, 0, 0);
    while !is_over(lockfile) || alive > 0 {
        if !is_over(lockfile) && alive < 50 {
            // SAFETY: the harness's thread, which the child lacks, only waits and holds no lock.
            match unsafe { fork() } {
                Ok(ForkResult::Parent { .. }) => (forked, alive) = (forked + 1, alive + 1),
                Ok(ForkResult::Child) => {
                    let _file = File::options().append(true).open(lockfile.path());
                    (0..20).for_each(|_| thread::yield_now());
                    exit_at_once(0)
                }
                Err(_) => {}
            }
        }
        while alive > 0 {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => break,
                WaitStatus::Exited(..) => alive -= 1,
                _ => (alive, signalled) = (alive - 1, signalled + 1),
            }
        }
    }
    format!("{forked} {signalled}")
}

/// Ends each holder until the loops end. Returns their number.
fn stop_all(lockfile: &Lockfile) -> String {
    let mut stopped = 0;
    while !is_over(lockfile) {
        match lockfile.holder() {
            Ok(Some(holder)) => {
                holder.terminate().unwrap();
                stopped += 1;
            }
            Ok(None) | Err(Error::Unproven { .. } | Error::NotExist { .. }) => {}
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
    stopped.to_string()
}

/// Starts daemons one after the other. Returns how many ended by SIGTERM, and how many by themselves. Every
/// second one crashes at once, and half of these leave a file as any program could have written it.
fn start_daemons(lockfile: &Lockfile, cycles: u32) -> String {
    let (mut terminated, mut crashed) = (0, 0);
    for cycle in 0..cycles {
        // SAFETY: as above.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let guard = lock_spinning(lockfile);
                std::mem::forget(guard);
                if cycle % 2 == 0 {
                    alarm::set(60);
                    pause();
                } else if cycle % 4 == 1 {
                    fs::write(lockfile.path(), record_of(process::id())).unwrap();
                }
                exit_at_once(0)
            }
            ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
                WaitStatus::Signaled(_, signal, _) => {
                    assert_eq!(signal as i32, libc::SIGTERM, "not found within a minute");
                    terminated += 1;
                }
                _ => crashed += 1,
            },
        }
    }
    format!("{terminated} {crashed}")
}

/// Takes the lock in turn with others, so that it is free each time. Returns how often that was refused.
fn take_turns(lockfile: &Lockfile, argument: &str) -> String {
    let (rounds, kind) = argument.split_once(' ').unwrap();
    let (rounds, stale) = (number(rounds), kind == "stale");
    let turn = File::create(lockfile.path().with_extension("turn")).unwrap();
    let mut refused = 0;
    for _ in 0..rounds {
        turn.lock().unwrap();
        if stale {
            fs::write(lockfile.path(), record_of(DEAD_PID)).unwrap();
        }
        let guard = loop {
            match lockfile.try_lock() {
                Ok(guard) => break guard,
                Err(error) => assert!(error.is_temporary(), "{error}"),
            }
            refused += 1;
        };
        guard.unlock().unwrap();
        turn.unlock().unwrap();
    }
    refused.to_string()
}

/// Asks until the loops end. Returns how often it asked.
fn ask_on(lockfile: &Lockfile) -> String {
    let mut asked = 0;
    while !is_over(lockfile) {
        let _ = lockfile.holder();
        asked += 1;
    }
    asked.to_string()
}
