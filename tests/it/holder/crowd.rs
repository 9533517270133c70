//! Thousands of pids are recycled while daemons come and go: no stranger is signalled, and no attempt refused.

use std::fs::{self, File};
use std::path::Path;
use std::process;
use std::thread;

use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork, pause};
use pidlockfile::{Error, Lockfile};

use crate::exclusion::lock_spinning;
use crate::holder::namespaces::{container, visitor};
use crate::peer::Peer;
use crate::sandbox::{DEAD_PID, Sandbox, is_root, record_of, require};

/// Few enough to be used again within milliseconds.
const PID_MAX: &str = "400";

/// This file ends the loops.
fn is_over(lockfile: &Lockfile) -> bool {
    lockfile.path().with_extension("over").exists()
}

fn exit_at_once() -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(0) }
}

/// Forks strangers until it is over, each with the lock file open for writing; their number, and how many of
/// them were signalled.
pub fn be_a_crowd(lockfile: &Lockfile) -> String {
    let (mut forked, mut alive, mut signalled) = (0, 0, 0);
    while !is_over(lockfile) || alive > 0 {
        if !is_over(lockfile) && alive < 50 {
            // SAFETY: the harness's thread, which the child lacks, only waits and holds no lock.
            match unsafe { fork() } {
                Ok(ForkResult::Parent { .. }) => (forked, alive) = (forked + 1, alive + 1),
                Ok(ForkResult::Child) => {
                    let _file = File::options().append(true).open(lockfile.path());
                    (0..20).for_each(|_| thread::yield_now());
                    exit_at_once()
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

/// Ends each holder until it is over; their number.
pub fn stop_all(lockfile: &Lockfile) -> String {
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

/// Starts daemons one after the other; how many ended by SIGTERM, and how many by themselves. Every second
/// one crashes at once, and half of these leave a file that any program could have written.
pub fn start_daemons(lockfile: &Lockfile, cycles: u32) -> String {
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
                exit_at_once()
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

fn numbers(answer: &str) -> Vec<u32> {
    answer.split(' ').map(|number| number.parse().unwrap()).collect()
}

/// Whether a pid namespace has a `pid_max` of its own: since Linux 6.14.
fn pid_max_is_the_namespaces_own() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(14))
}

#[test]
fn of_a_thousand_starts_and_stops_beside_a_crowd_none_signals_a_stranger() {
    require!(is_root(), "needs root, to make a pid namespace");
    require!(pid_max_is_the_namespaces_own(), "needs Linux 6.14, to have pids recycled soon");
    let sandbox = Sandbox::new();
    let mut inside = container(&sandbox);
    inside.must(&format!("child set_pid_max {PID_MAX}"));
    inside.must("child end_child");
    let mut crowd = visitor(&sandbox, &mut inside);
    let mut stopper = visitor(&sandbox, &mut inside);
    crowd.tell("child crowd");
    stopper.tell("child stop_all");
    let daemons = numbers(&inside.ask("child start_daemons 1000"));
    fs::write(sandbox.path().with_extension("over"), "").unwrap();
    let (crowd, signals) = (numbers(&crowd.answer()), numbers(&stopper.answer()));
    let [terminated, crashed] = daemons[..] else { panic!("{daemons:?}") };
    let [strangers, signalled] = crowd[..] else { panic!("{crowd:?}") };
    eprintln!(
        "{strangers} strangers, {signalled} signalled; {signals:?} signals; {daemons:?} daemons"
    );
    assert_eq!(signalled, 0);
    assert!(terminated >= 500 && terminated + crashed == 1000, "{daemons:?}");
    assert!(strangers > 4 * PID_MAX.parse::<u32>().unwrap(), "{strangers}");
}

/// Takes the lock in turn with others, so that it is free each time, until it is had; how often that was refused.
pub fn take_turns(lockfile: &Lockfile, rounds: u32, stale: bool) -> String {
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

/// Eight that take the lock in turn, beside two that ask for the holder all the time; how many attempts were
/// refused of how many.
fn false_refusals(stale: bool, refuse: Option<&str>) -> (u32, u32) {
    const ROUNDS: u32 = 500;
    let sandbox = Sandbox::new();
    let peer = |path: &Path| {
        let mut peer = Peer::at(path);
        if let Some(call) = refuse {
            peer.must(&format!("refuse {call}"));
        }
        peer
    };
    let mut askers = [(); 2].map(|()| Peer::at(&sandbox.path()));
    let mut contenders = [(); 8].map(|()| peer(&sandbox.path()));
    for asker in &mut askers {
        asker.tell("ask_on");
    }
    let kind = if stale { "stale" } else { "released" };
    for peer in &mut contenders {
        peer.tell(&format!("take_turns {ROUNDS} {kind}"));
    }
    let refused = contenders.each_mut().map(|peer| peer.answer().parse::<u32>().unwrap());
    fs::write(sandbox.path().with_extension("over"), "").unwrap();
    let asked = askers.each_mut().map(Peer::answer);
    let result = (refused.iter().sum(), ROUNDS * 8);
    eprintln!("{kind}, {refuse:?}: {result:?} refused, beside {asked:?} questions");
    result
}

/// Asks until it is over; how often.
pub fn ask_on(lockfile: &Lockfile) -> String {
    let mut asked = 0;
    while !is_over(lockfile) {
        let _ = lockfile.holder();
        asked += 1;
    }
    asked.to_string()
}

#[test]
fn asking_for_the_holder_refuses_nobody_a_free_lock() {
    assert_eq!(false_refusals(false, None).0, 0);
}

/// The docs give the rate. Here two ask as fast as they can, and each time there is a file without a lock.
#[test]
fn asking_about_a_stale_file_delays_an_attempt_and_never_fails_it() {
    false_refusals(true, None);
    false_refusals(false, Some("tmpfile"));
}
