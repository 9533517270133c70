//! Waiting for a lock: trying again, after growing and jittered delays, until a deadline.
//!
//! [`acquire_with_retry`] is all that most programs need. A [`RetryPolicy`] says when to try again
//! and when to give up; its [`run`](RetryPolicy::run) takes a hook that hears of each wait and a
//! [`CancelToken`] that ends it. [`TryLock`] is for a lock that is kept elsewhere, with a [`Place`] for each
//! run where its keeper takes time to answer. [`Retry::call_when`] is for any other operation.
//!
//! | | `default()` | `daemon()` | why |
//! |---|---|---|---|
//! | first attempt | at once | at once | the lock is nearly always free |
//! | first delay | 10 ms | 10 ms | shorter delays only spin |
//! | growth | ×1.5 | ×1.5 | a short wait stays short, a long one costs nothing |
//! | longest delay | 250 ms | 1 s | how late a released lock is noticed at worst |
//! | jitter | equal: half the delay to all of it | the same | waiters that started together drift apart |
//! | gives up after | 10 s | never | a user gives up waiting, a daemon is cancelled |
//! | wakes on release | yes | yes | on Linux an event ends a delay early |
//!
//! A lock that is free costs what [`try_lock`](crate::Lockfile::try_lock) costs: the first attempt
//! is made at once, and nothing is set up before it fails.
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

// In the order in which data flows: no file names one above it.
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

/// Takes the lock as [`acquire_with_retry`] does, and gives up the thread while it sleeps.
///
/// It needs the feature `tokio`. Dropping the future ends the run and leaves nothing locked. For a time
/// limit, set the policy's: unlike `tokio::time::timeout`, it tells who holds the lock.
/// [`Retry::acquire_async`] takes a hook and a token.
///
/// # Errors
///
/// [`RetryError`], with the reason for giving up and the last error of `try_lock`.
///
/// # Panics
///
/// Outside a tokio runtime, or in one without time. In one without I/O, it only wakes by its delays.
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
