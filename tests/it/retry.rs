//! Waiting for the lock, and giving up.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, iter, process, thread};

use nix::libc;
use pidlockfile::Error;
use pidlockfile::retry::{
    CancelToken, GaveUp, RetryError, RetryPolicy, Temporary, TryLock, acquire_with_retry,
};

use crate::support::allocations::allocations;
use crate::support::peer::Peer;
use crate::support::sandbox::Sandbox;
use crate::support::trace::{Traced, require_traced};
use crate::support::waiting::would_block;

mod again;
mod hooks;
mod texts;

const MS: Duration = Duration::from_millis(1);

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// A policy whose delays are as short as possible.
fn hasty() -> RetryPolicy {
    RetryPolicy::fixed(Duration::from_nanos(1)).with_max_elapsed(None)
}

fn attempts(limit: u32) -> RetryPolicy {
    let builder = RetryPolicy::builder().initial_delay(MS);
    builder.max_attempts(limit).max_elapsed(None).build().unwrap()
}

#[test]
fn a_free_lock_is_taken_at_the_first_attempt() {
    let sandbox = Sandbox::new();
    let guard = RetryPolicy::default()
        .run()
        .on_wait(|attempt| panic!("{attempt:?}"))
        .acquire(&sandbox.lockfile())
        .unwrap();
    assert_eq!(guard.path(), sandbox.path());
    guard.unlock().unwrap();
}

#[test]
fn a_free_lock_costs_no_allocation() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let policy = RetryPolicy::default();
    let token = CancelToken::new().unwrap();
    assert_eq!(allocations(|| drop(acquire_with_retry(&lockfile, &policy).unwrap())), 0);
    let mut waits = 0;
    let run = policy.run().on_wait(|_| waits += 1).cancel_on(&token);
    assert_eq!(allocations(|| drop(run.acquire(&lockfile).unwrap())), 0);
    assert_eq!(waits, 0);
}

#[test]
fn a_free_lock_costs_the_system_calls_of_try_lock() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    let mut calls_of = |command| {
        let mut calls = traced.calls(command);
        // It is a system call only where the vDSO has no clock.
        calls.retain(|&call| call != libc::SYS_clock_gettime);
        traced.calls("unlock");
        calls
    };
    assert_eq!(calls_of("acquire_with_retry"), calls_of("try_lock"));
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_released() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let guard = hasty()
        .run()
        .on_wait(|attempt| {
            assert_eq!(attempt.owner(), Some(process::id()));
            drop(held.take());
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    guard.unlock().unwrap();
    sandbox.assert_free_and_clean();
}

#[test]
fn a_waiter_gets_the_lock_when_its_owner_is_killed() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let pid = owner.pid();
    let guard = hasty()
        .run()
        .on_wait(|attempt| {
            if attempt.number == 1 {
                assert_eq!(attempt.owner(), Some(pid));
                owner.kill();
            }
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    guard.verify().unwrap();
}

#[test]
fn sixteen_waiters_all_get_the_lock_one_at_a_time() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let held = lockfile.try_lock().unwrap();
    let waiting = AtomicUsize::new(0);
    let (all_wait, somebody_waits) = std::sync::mpsc::channel();
    let inside = Mutex::new(());
    thread::scope(|scope| {
        let waiters: Vec<_> = iter::repeat_with(|| {
            scope.spawn(|| {
                let policy = RetryPolicy::fixed(MS).with_max_elapsed(None);
                let guard = policy
                    .run()
                    .on_wait(|attempt| {
                        if attempt.number == 1 && waiting.fetch_add(1, Ordering::SeqCst) == 15 {
                            all_wait.send(()).unwrap();
                        }
                    })
                    .acquire(&lockfile)
                    .unwrap();
                let _alone = inside.try_lock().unwrap();
                guard.verify().unwrap();
                guard
            });
        })
        .take(16)
        .collect();
        somebody_waits.recv().unwrap();
        drop(held);
        assert_eq!(waiters.len(), 16);
    });
    sandbox.assert_free_and_clean();
}

#[test]
fn a_permanent_error_ends_the_run_at_once() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let error = RetryPolicy::daemon()
        .run()
        .on_wait(|attempt| panic!("{attempt:?}"))
        .acquire(&sandbox.lockfile())
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 1));
    assert!(matches!(error.last, Some(Error::NotAFile { .. })));
}

#[test]
fn a_permanent_error_ends_the_run_after_temporary_ones() {
    let mut errors = [would_block(), would_block(), denied()].into_iter();
    let error = hasty().run().call(|| Err::<(), _>(errors.next().unwrap())).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 3));
    assert_eq!(error.last.unwrap().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_run_gives_up_when_its_attempts_are_used_up() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    for limit in [1, 2, 5] {
        let error = acquire_with_retry(&sandbox.lockfile(), &attempts(limit)).unwrap_err();
        assert_eq!((error.reason, error.attempts), (GaveUp::Attempts, limit));
        assert!(matches!(error.last, Some(Error::Busy { .. })));
    }
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Attempts, 1));
}

#[test]
fn a_run_makes_its_last_attempt_when_the_time_is_up() {
    let limit = 25 * MS;
    let token = CancelToken::new().unwrap();
    for token in [None, Some(&token)] {
        let started = Instant::now();
        let last = Cell::new(Duration::ZERO);
        let policy = RetryPolicy::fixed(10 * MS).with_max_elapsed(limit);
        let run = policy.run();
        let run = if let Some(token) = token { run.cancel_on(token) } else { run };
        let error = run
            .call(|| {
                last.set(started.elapsed());
                Err::<(), _>(would_block())
            })
            .unwrap_err();
        assert_eq!(error.reason, GaveUp::Deadline);
        assert!(error.elapsed >= limit);
        assert!(last.get() >= limit, "the last attempt came after {:?}", last.get());
        // After 0, 10, 20 and 25 ms, or fewer on a machine that oversleeps.
        assert!((2..=4).contains(&error.attempts), "{error:?}");
    }
}

#[test]
fn a_deadline_of_zero_makes_one_attempt() {
    let policy = RetryPolicy::daemon().with_max_elapsed(Duration::ZERO);
    let error = policy
        .run()
        .on_wait(|attempt| panic!("{attempt:?}"))
        .call(|| Err::<(), _>(would_block()))
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 1));
}

#[test]
fn a_lock_kept_elsewhere_is_waited_for_in_the_same_way() {
    struct Elsewhere(Cell<u32>);
    #[derive(Debug)]
    struct NotYet;
    impl std::fmt::Display for NotYet {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("not yet")
        }
    }
    impl Temporary for NotYet {
        fn is_temporary(&self) -> bool {
            true
        }
    }
    impl TryLock for Elsewhere {
        type Guard = &'static str;
        type Error = NotYet;
        fn try_lock(&self) -> Result<&'static str, NotYet> {
            self.0.set(self.0.get() + 1);
            if self.0.get() == 3 { Ok("locked") } else { Err(NotYet) }
        }
    }
    assert_eq!(NotYet.owner(), None);
    assert_eq!(acquire_with_retry(&Elsewhere(Cell::new(0)), &hasty()).unwrap(), "locked");
    let error = acquire_with_retry(&Elsewhere(Cell::new(3)), &attempts(2)).unwrap_err();
    assert!(matches!(error, RetryError { reason: GaveUp::Attempts, last: Some(NotYet), .. }));
}

#[test]
fn which_io_errors_are_temporary() {
    use io::ErrorKind as Kind;
    for kind in [Kind::WouldBlock, Kind::Interrupted, Kind::TimedOut, Kind::ResourceBusy] {
        assert!(Temporary::is_temporary(&io::Error::from(kind)), "{kind:?}");
    }
    for kind in [Kind::NotFound, Kind::PermissionDenied, Kind::StorageFull, Kind::Other] {
        assert!(!Temporary::is_temporary(&io::Error::from(kind)), "{kind:?}");
    }
}

#[test]
fn a_run_outlives_its_policy_and_its_token() {
    fn check<T: 'static>(run: T) -> T {
        run
    }
    let sandbox = Sandbox::new();
    let run = {
        let token = CancelToken::new().unwrap();
        check(RetryPolicy::daemon().run().cancel_on(&token).on_wait(|_| ()))
    };
    run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
}
