//! Waiting for a lock: trying again, with growing and jittered delays, until a deadline.
//!
//! [`acquire_with_retry`] is all that most programs need. A [`RetryPolicy`] says when to try again
//! and when to give up; its [`run`](RetryPolicy::run) takes a hook that hears of each wait and a
//! [`CancelToken`] that ends it. [`TryLock`] is the seam for a lock that is kept elsewhere.
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

#[cfg(feature = "tokio")]
mod run_async;
mod run;
mod progress;
mod wait;
mod wake;
mod decision;
mod schedule;
#[cfg(feature = "serde")]
mod settings;
mod builder;
mod policy;
mod jitter;
mod cancel;
mod trace;
mod attempt;
mod give_up;
mod seam;
mod watch;
mod temporary;

pub use attempt::Attempt;
pub use builder::{InvalidPolicy, RetryPolicyBuilder};
pub use cancel::CancelToken;
pub use give_up::{GaveUp, RetryError};
pub use jitter::Jitter;
pub use policy::RetryPolicy;
pub use run::Retry;
pub use seam::TryLock;
pub use temporary::Temporary;
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
/// It needs the feature `tokio`. Dropping the future ends the run and leaves nothing locked.
/// [`Retry::acquire_async`] takes hooks.
///
/// # Errors
///
/// [`RetryError`], with the reason for giving up and the last error of `try_lock`.
///
/// # Panics
///
/// When it has to wait outside a tokio runtime, or in one without time, or, as long as the policy [wakes
/// on release](RetryPolicyBuilder::wake_on_release), without I/O.
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
pub async fn acquire_with_retry_async<L: TryLock>(
    lock: &L,
    policy: &RetryPolicy,
) -> Result<L::Guard, RetryError<L::Error>> {
    policy.run().acquire_async(lock).await
}
