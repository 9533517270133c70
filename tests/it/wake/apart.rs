//! Waits that have a process to themselves: it lacks what they stand on, forks, or counts what they leave.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pidlockfile::LockGuard;
use pidlockfile::retry::{Attempt, RetryPolicy};

use crate::support::peer::Peer;
use crate::support::process::{exit_at_once, forked, must_end_well, must_succeed};
use crate::support::refuse::refuse;
use crate::support::sandbox::Sandbox;
use crate::support::waiting::long_wait;
use crate::wake::{MS, WAITS};

#[test]
fn without_inotify_a_wait_goes_by_its_schedule() {
    must_succeed("wake::apart::process_without_inotify");
}

#[test]
#[ignore = "not a test: a process without inotify"]
fn process_without_inotify() {
    refuse("inotify");
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let policy = RetryPolicy::fixed(20 * MS);
    let wait = |held: &mut Option<LockGuard>| {
        let run = policy.run().on_wait(|attempt| {
            if attempt.number == 3 {
                drop(held.take());
            }
        });
        run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
    };
    #[cfg(not(feature = "tracing"))]
    wait(&mut held);
    #[cfg(feature = "tracing")]
    {
        let lines = crate::support::listener::lines_while(|| wait(&mut held));
        assert!(
            lines.iter().any(|line| line.starts_with("DEBUG no events of the lock error=")),
            "{lines:?}"
        );
    }
}

#[test]
fn without_pidfds_a_release_and_a_killed_owner_still_raise_events() {
    for end in [Peer::kill as fn(&mut Peer), |owner| owner.must("unlock")] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let mut waiter = Peer::without(&sandbox.path(), &["pidfd"]);
        waiter.tell("wait_aloud");
        assert_eq!(waiter.answer(), "waiting");
        end(&mut owner);
        assert_eq!(waiter.answer(), "ok");
    }
}

/// Alone in a process, because no other wait there gets events while it runs.
#[test]
fn more_waits_than_a_process_may_watch_go_by_their_schedule() {
    must_succeed("wake::apart::process_that_waits_more_than_it_may_watch");
}

#[test]
#[ignore = "not a test: a process that leaves nothing to listen with"]
fn process_that_waits_more_than_it_may_watch() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let (waits, it_waits) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..40 {
            let waits = waits.clone();
            scope.spawn(|| {
                let waits = waits;
                let policy = RetryPolicy::fixed(20 * MS).with_max_elapsed(None);
                let run = policy.run().on_wait(|attempt| {
                    if attempt.number == 1 {
                        waits.send(()).unwrap();
                    }
                });
                run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
            });
        }
        it_waits.iter().take(40).for_each(drop);
        drop(held);
    });
    sandbox.assert_free_and_clean();
}

#[test]
fn a_thousand_waits_leave_no_descriptor_behind() {
    must_succeed("wake::apart::process_that_waits_a_thousand_times");
}

#[test]
#[ignore = "not a test: a process that counts its descriptors"]
fn process_that_waits_a_thousand_times() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    for wait in WAITS {
        let open = |rounds| {
            for _ in 0..rounds {
                let mut held = Some(sandbox.lock());
                wait(&lockfile, &mut |_| drop(held.take())).unlock().unwrap();
            }
            fs::read_dir("/proc/self/fd").unwrap().count()
        };
        assert_eq!(open(1), open(1000));
    }
}

#[test]
fn a_child_forked_in_the_middle_of_a_wait_waits_by_itself() {
    must_succeed("wake::apart::process_that_forks_in_the_middle_of_a_wait");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn process_that_forks_in_the_middle_of_a_wait() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let mut owner = Peer::holding(&sandbox.path());
    let (mut child, is_child) = (None, Cell::new(false));
    let mut releases = true;
    let guard = long_wait(&lockfile, |_| {
        if child.is_none() && !is_child.get() {
            // SAFETY: as in `forked`.
            match unsafe { nix::unistd::fork() }.unwrap() {
                nix::unistd::ForkResult::Parent { child: pid } => child = Some(pid),
                nix::unistd::ForkResult::Child => is_child.set(true),
            }
        }
        if !is_child.get() && std::mem::take(&mut releases) {
            owner.tell("unlock");
        }
    });
    if is_child.get() {
        std::mem::forget(owner);
        drop(guard);
        exit_at_once(0)
    }
    guard.unlock().unwrap();
    must_end_well(child.unwrap());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_forked_child_leaves_its_parents_watches_alone() {
    must_succeed("wake::apart::process_whose_child_waits_too");
}

#[test]
fn a_forked_child_and_its_parent_take_no_events_from_each_other() {
    must_succeed("wake::apart::process_that_waits_while_its_child_does");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn process_that_waits_while_its_child_does() {
    let wait = |before_the_sleep: &mut dyn FnMut()| {
        let sandbox = Sandbox::new();
        let mut held = Some(sandbox.lock());
        let release = |_: &Attempt<'_>| {
            drop(held.take());
            before_the_sleep();
        };
        long_wait(&sandbox.lockfile(), release).unlock().unwrap();
    };
    wait(&mut || ());
    // The parent's whole wait comes between the child's event and the child's sleep.
    let (mut child_hears, mut parents_word) = io::pipe().unwrap();
    let (mut parent_hears, mut childs_word) = io::pipe().unwrap();
    let child = forked(|| {
        wait(&mut || {
            childs_word.write_all(b"!").unwrap();
            child_hears.read_exact(&mut [0]).unwrap();
        });
    });
    parent_hears.read_exact(&mut [0]).unwrap();
    wait(&mut || ());
    parents_word.write_all(b"!").unwrap();
    must_end_well(child);
}

#[test]
#[ignore = "not a test: a process that forks"]
fn process_whose_child_waits_too() {
    let (sandbox, childs) = (Sandbox::new(), Sandbox::new());
    let wait = |sandbox: &Sandbox| {
        let mut held = Some(sandbox.lock());
        long_wait(&sandbox.lockfile(), |_| drop(held.take())).unlock().unwrap();
    };
    wait(&sandbox);
    // The child waits, and its wait ends, while its parent sleeps.
    let mut held = Some(sandbox.lock());
    let mut child = None;
    let guard = long_wait(&sandbox.lockfile(), |_| {
        if child.is_none() {
            child = Some(forked(|| wait(&childs)));
            must_end_well(child.unwrap());
        }
        drop(held.take());
    });
    guard.unlock().unwrap();
    wait(&sandbox);
}

/// For one second, or for `PIDLOCKFILE_FAIRNESS_SECONDS`.
#[test]
fn none_of_sixteen_waiters_starves() {
    must_succeed("wake::apart::process_with_sixteen_waiters");
}

#[test]
#[ignore = "not a test: a process that leaves nothing to listen with"]
fn process_with_sixteen_waiters() {
    let seconds = std::env::var("PIDLOCKFILE_FAIRNESS_SECONDS");
    let seconds = Duration::from_secs(seconds.map_or(1, |seconds| seconds.parse().unwrap()));
    let sandbox = Sandbox::new();
    let over = AtomicBool::new(false);
    let policy = RetryPolicy::default().with_max_elapsed(None);
    let counts: Vec<u32> = thread::scope(|scope| {
        let work = || {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) {
                let guard = policy.run().acquire(&sandbox.lockfile()).unwrap();
                thread::sleep(MS);
                guard.unlock().unwrap();
                count += 1;
            }
            count
        };
        let waiters: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        thread::sleep(seconds);
        over.store(true, Ordering::SeqCst);
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
    });
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}
