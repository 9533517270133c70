//! Waits that something ends, and how soon they end.

use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{io, iter, thread};

use nix::unistd::gettid;
use pidlockfile::retry::{Attempt, CancelToken, GaveUp, RetryPolicy};
use pidlockfile::{LockGuard, Lockfile};

use crate::support::process::await_sleep_of;

/// Longer than any test whose sleep ends early takes, and short enough to see a test fail.
pub const LONG: Duration = Duration::from_secs(60);
pub const SOON: Duration = Duration::from_secs(20);

pub fn would_block() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// A policy whose second attempt comes after a test has long failed.
pub fn long_sleep() -> RetryPolicy {
    RetryPolicy::fixed(LONG).with_max_elapsed(LONG)
}

/// Waits for the lock in a sleep that only an event of the lock can end in time.
pub fn long_wait(lockfile: &Lockfile, on_wait: impl FnMut(&Attempt<'_>)) -> LockGuard {
    let started = Instant::now();
    let guard = long_sleep().run().on_wait(on_wait).acquire(lockfile).unwrap();
    assert!(started.elapsed() < SOON, "it slept to the end");
    guard
}

/// The same wait in a task.
#[cfg(feature = "tokio")]
pub fn long_wait_async(lockfile: &Lockfile, on_wait: impl FnMut(&Attempt<'_>)) -> LockGuard {
    let started = Instant::now();
    let wait = long_sleep().run().on_wait(on_wait).acquire_async(lockfile);
    let guard = runtime().block_on(wait).unwrap();
    assert!(started.elapsed() < SOON, "it slept to the end");
    guard
}

/// Sleeps through `sleep` without being cancelled.
pub fn sleep_undisturbed(token: &CancelToken, sleep: Duration) {
    let policy = RetryPolicy::fixed(sleep).with_max_elapsed(sleep);
    let error = policy.run().cancel_on(token).call(|| Err::<(), _>(would_block())).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 2));
    assert!(error.elapsed >= sleep);
}

/// The shortest time of twenty from cancelling a sleeping wait to its end. The shortest, because the machine
/// may be busy with other things; a wait that only polled would be slow each time.
pub fn quickest_end(wait: impl Fn(&CancelToken, &dyn Fn()) + Sync) -> Duration {
    let times = iter::repeat_with(|| {
        let token = CancelToken::new().unwrap();
        thread::scope(|scope| {
            let (waits, it_waits) = mpsc::channel();
            let (wait, token) = (&wait, &token);
            let waiter = scope.spawn(move || {
                wait(token, &|| waits.send(gettid()).unwrap());
                Instant::now()
            });
            await_sleep_of(it_waits.recv().unwrap());
            let cancelled = Instant::now();
            token.cancel();
            waiter.join().unwrap().saturating_duration_since(cancelled)
        })
    });
    times.take(20).min().unwrap()
}

/// A runtime with all drivers, on this thread.
#[cfg(feature = "tokio")]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
