//! Waiting for a lock: trying again after growing, jittered delays, until a deadline.
//!
//! Most programs need only [`acquire_with_retry`]. A [`RetryPolicy`] says when to try again and when to give
//! up. A [`run`](RetryPolicy::run) of a policy can also call a hook before each delay, and end when a
//! [`CancelToken`] is cancelled. Implement [`TryLock`] for a lock that is kept elsewhere, with a [`Place`] for
//! each run if the lock service takes time to answer. [`Retry::call_when`] retries any other operation.
//!
//! | | `default()` | `daemon()` | why |
//! |---|---|---|---|
//! | first attempt | at once | at once | the lock is nearly always free |
//! | first delay | 10 ms | 10 ms | shorter delays only spin |
//! | growth | ×1.5 | ×1.5 | a short wait stays short, a long one costs nothing |
//! | longest delay | 250 ms | 1 s | a released lock is noticed after this time at the latest |
//! | jitter | equal: half the delay to all of it | the same | waiters that started together do not try together |
//! | gives up after | 10 s | never | a user gives up waiting, a daemon is cancelled |
//! | wakes on release | yes | yes | on Linux an event ends a delay early |
//!
//! A free lock costs no more than [`try_lock`](crate::Lockfile::try_lock): the first attempt is made at once,
//! and nothing is set up before it fails.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use pidlockfile::Lockfile;
//! use pidlockfile::retry::{GaveUp, RetryPolicy, acquire_with_retry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("example.pid");
//! let lockfile = Lockfile::new(path)?;
//! let _guard = acquire_with_retry(&lockfile, &RetryPolicy::default())?;
//!
//! let impatient = RetryPolicy::default().with_max_elapsed(Duration::from_millis(20));
//! let error = acquire_with_retry(&lockfile, &impatient).unwrap_err();
//! assert_eq!(error.reason, GaveUp::Deadline);
//! # Ok(())
//! # }
//! ```

// Modules are in the order in which data flows: no file names one above it.
mod run;
mod wait;
mod wake_up;
#[cfg(feature = "tokio")]
mod task_sleep;
mod sleep;
mod schedule;
#[cfg(feature = "serde")]
mod settings;
mod builder;
mod policy;
mod try_lock;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod inotify;
mod watch;
mod trace;
mod failure;
mod temporary;
mod cancel;

pub use builder::{InvalidPolicy, RetryPolicyBuilder};
pub use cancel::CancelToken;
pub use failure::{Attempt, GaveUp, RetryError};
pub use policy::{Jitter, RetryPolicy};
pub use run::Retry;
pub use temporary::{Again, Failure, Temporary};
pub use try_lock::{BoxedPlace, Place, TryLock};
pub use watch::Watch;

/// Takes the lock, trying again on temporary errors as `policy` says.
///
/// The first attempt is made at once. A permanent error ends the run at once.
///
/// # Errors
///
/// [`RetryError`], with the reason for giving up and the last error of `try_lock`.
///
/// # Examples
///
/// ```
/// use pidlockfile::Lockfile;
/// use pidlockfile::retry::{RetryPolicy, acquire_with_retry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("acquire.pid");
/// let _guard = acquire_with_retry(&Lockfile::new(path)?, &RetryPolicy::default())?;
/// # Ok(())
/// # }
/// ```
pub fn acquire_with_retry<L: TryLock>(
    lock: &L,
    policy: &RetryPolicy,
) -> Result<L::Guard, RetryError<L::Error>> {
    policy.run().acquire(lock)
}

/// Takes the lock as [`acquire_with_retry`] does, without blocking the thread.
///
/// It needs the feature `tokio`. Dropping the future ends the run and leaves nothing locked. Use the policy's
/// time limit and not `tokio::time::timeout`: the policy's error names the holder of the lock.
/// [`Retry::acquire_async`] takes a hook and a token.
///
/// # Errors
///
/// [`RetryError`], with the reason for giving up and the last error of `try_lock`.
///
/// # Panics
///
/// Outside a tokio runtime, or in one without time. In a runtime without I/O, an event is noticed late or never.
///
/// # Examples
///
/// ```
/// use pidlockfile::Lockfile;
/// use pidlockfile::retry::{RetryPolicy, acquire_with_retry_async};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("acquire.pid");
/// let lockfile = Lockfile::new(path)?;
/// let _guard = acquire_with_retry_async(&lockfile, &RetryPolicy::default()).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tokio")]
pub fn acquire_with_retry_async<L: TryLock>(
    lock: L,
    policy: &RetryPolicy,
) -> impl Future<Output = Result<L::Guard, RetryError<L::Error>>> + use<L> {
    policy.run().acquire_async(lock)
}
