//! Events for nothing, and events without end, cost little and change no schedule.

use std::cell::Cell;
use std::io::{self, PipeReader, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::retry::{Attempt, GaveUp, Jitter, RetryPolicy, TryLock, Watch};

use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, set_mode};
#[cfg(feature = "tokio")]
use crate::support::waiting::runtime;
use crate::support::waiting::{SOON, long_sleep};
use crate::wake::MS;

#[test]
fn a_wait_that_wakes_on_nothing_watches_nothing() {
    let asked = Cell::new(false);
    let lock = Elsewhere::new(|| {
        asked.set(true);
        None
    });
    let policy = RetryPolicy::builder()
        .initial_delay(20 * MS)
        .max_attempts(3)
        .wake_on_release(false)
        .build()
        .unwrap();
    assert_eq!(policy.run().acquire(&lock).unwrap_err().attempts, 3);
    assert!(!asked.get());
    let policy = RetryPolicy::none();
    assert_eq!(policy.run().acquire(&lock).unwrap_err().attempts, 1);
    assert!(!asked.get());
}

/// A lock that is busy until it is opened, and the descriptor that raises its events.
struct Elsewhere<W> {
    is_open: Cell<bool>,
    watch: W,
}

impl<W> Elsewhere<W> {
    fn new(watch: W) -> Elsewhere<W> {
        Elsewhere { is_open: Cell::new(false), watch }
    }
}

impl<W: Fn() -> Option<Watch>> TryLock for Elsewhere<W> {
    type Guard = ();
    type Error = io::Error;

    fn try_lock(&self) -> io::Result<()> {
        if self.is_open.get() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn watch(&self) -> Option<Watch> {
        (self.watch)()
    }
}

fn copy_of(events: &PipeReader) -> Watch {
    Watch::from(OwnedFd::from(events.try_clone().unwrap()))
}

#[test]
fn a_lock_kept_elsewhere_raises_its_own_events() {
    let (events, mut teller) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&events)));
    let started = Instant::now();
    let policy = long_sleep();
    let release = |_: &Attempt<'_>| {
        lock.is_open.set(true);
        teller.write_all(b"!").unwrap();
    };
    policy.run().on_wait(release).acquire(&lock).unwrap();
    assert!(started.elapsed() < SOON);
}

#[test]
fn events_that_never_end_make_no_waiter_spin() {
    let (events, _) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&events)));
    let policy = long_sleep().with_max_elapsed(500 * MS);
    assert_few(policy.run().acquire(&lock).unwrap_err().attempts);
    #[cfg(feature = "tokio")]
    {
        let error = runtime().block_on(policy.run().acquire_async(&lock)).unwrap_err();
        assert_few(error.attempts);
    }
}

#[test]
fn a_waiter_still_wakes_up_after_forty_events_for_nothing() {
    let (events, _) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&events)));
    let started = Instant::now();
    let mut wrong = 0;
    let policy = long_sleep();
    let open = |_: &Attempt<'_>| {
        wrong += 1;
        lock.is_open.set(wrong == 40);
    };
    policy.run().on_wait(open).acquire(&lock).unwrap();
    assert!(started.elapsed() < SOON);
}

/// The number of attempts that half a second of ceaseless events may cause.
#[track_caller]
fn assert_few(attempts: u32) {
    // One for each delay of 10 ms on average, and those made while the delays grow.
    assert!((3..120).contains(&attempts), "{attempts}");
}

#[test]
fn a_file_that_changes_all_the_time_makes_no_waiter_spin() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                set_mode(&sandbox.path(), 0o600);
            }
        });
        let policy = long_sleep().with_max_elapsed(500 * MS);
        let error = policy.run().acquire(&sandbox.lockfile()).unwrap_err();
        over.store(true, Ordering::SeqCst);
        assert_eq!(error.reason, GaveUp::Deadline);
        assert_few(error.attempts);
    });
}

#[test]
fn after_an_early_attempt_the_same_sleep_goes_on() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let policy = RetryPolicy::builder()
        .initial_delay(Duration::from_secs(60))
        .max_delay(Duration::from_secs(600))
        .max_attempts(2)
        .max_elapsed(None)
        .build()
        .unwrap();
    let mut ends = Vec::new();
    let guard = policy
        .run()
        .on_wait(|attempt| {
            ends.push(attempt.elapsed + attempt.next_delay);
            assert_eq!(attempt.number as usize, ends.len());
            if ends.len() < 6 {
                set_mode(&sandbox.path(), 0o600);
            } else {
                drop(held.take());
            }
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    drop(guard);
    ends.dedup();
    assert_eq!(ends.len(), 1, "{ends:?}");
}

#[test]
fn events_use_up_no_attempts() {
    let (events, _) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&events)));
    let policy = RetryPolicy::builder()
        .initial_delay(100 * MS)
        .jitter(Jitter::None)
        .multiplier(1.0)
        .max_attempts(3)
        .build()
        .unwrap();
    let error = policy.run().acquire(&lock).unwrap_err();
    assert_eq!(error.reason, GaveUp::Attempts);
    assert!(error.attempts > 3 && error.elapsed >= 200 * MS, "{error:?}");
}

#[test]
fn a_waiter_that_was_woken_for_nothing_sleeps_on() {
    let sandbox = Sandbox::new();
    let _held = Peer::holding(&sandbox.path());
    let policy = long_sleep().with_max_elapsed(500 * MS);
    let run = policy.run().on_wait(|attempt| {
        if attempt.number == 1 {
            set_mode(&sandbox.path(), 0o600);
        }
    });
    let error = run.acquire(&sandbox.lockfile()).unwrap_err();
    // The first, the one for the event, and the last.
    assert_eq!(error.attempts, 3);
}

#[test]
fn waiters_do_not_wake_each_other() {
    let sandbox = Sandbox::new();
    let _held = Peer::holding(&sandbox.path());
    let policy = RetryPolicy::fixed(50 * MS).with_max_elapsed(Duration::from_secs(1));
    let schedule = 1 + u32::try_from(policy.delays().count()).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let seen = AtomicU32::new(0);
                let run = policy.run().on_wait(|_| {
                    seen.fetch_add(1, Ordering::SeqCst);
                });
                let error = run.acquire(&sandbox.lockfile()).unwrap_err();
                assert!(error.attempts <= schedule, "{} > {schedule}", error.attempts);
                assert_eq!(seen.into_inner() + 1, error.attempts);
            });
        }
    });
}
