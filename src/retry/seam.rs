//! The seam between waiting and what is waited for.

use crate::error::Error;
use crate::guard::LockGuard;
use crate::lockfile::Lockfile;
use crate::retry::{Temporary, Watch};

/// A lock that can be tried without waiting.
///
/// [`Lockfile`] implements it. Implement it for a lock that is kept elsewhere, by etcd or
/// a database, once one machine is not enough: policies, hooks and cancellation stay the same.
///
/// Where the lock's keeper can tell of a release, as PostgreSQL can by `NOTIFY`, [`watch`](TryLock::watch)
/// hands a run the descriptor on which that word arrives; then a wait ends early.
///
/// `try_lock` should return at once. An error that another try can mend says so through
/// [`Temporary`]; every other one ends the run.
///
/// # Examples
///
/// A lock kept by PostgreSQL, as long as its session lasts:
///
/// ```
/// use std::sync::Arc;
///
/// use pidlockfile::retry::{RetryPolicy, Temporary, TryLock};
/// # struct Client;
/// # impl Client {
/// #     fn query_bool(&self, _sql: &str, _key: i64) -> Result<bool, PgError> { Ok(true) }
/// # }
/// # #[derive(Debug)]
/// # struct PgError;
///
/// struct PgLock { client: Arc<Client>, key: i64 }
/// struct PgGuard { client: Arc<Client>, key: i64 } // its Drop calls pg_advisory_unlock
/// #[derive(Debug)]
/// enum NotLocked { Held, Server(PgError) }
///
/// impl Temporary for NotLocked {
///     fn is_temporary(&self) -> bool { matches!(self, NotLocked::Held) }
/// }
///
/// impl TryLock for PgLock {
///     type Guard = PgGuard;
///     type Error = NotLocked;
///
///     fn try_lock(&self) -> Result<PgGuard, NotLocked> {
///         match self.client.query_bool("SELECT pg_try_advisory_lock($1)", self.key) {
///             Ok(true) => Ok(PgGuard { client: Arc::clone(&self.client), key: self.key }),
///             Ok(false) => Err(NotLocked::Held),
///             Err(error) => Err(NotLocked::Server(error)),
///         }
///     }
/// }
///
/// let lock = PgLock { client: Arc::new(Client), key: 42 };
/// assert!(RetryPolicy::daemon().run().acquire(&lock).is_ok());
/// ```
pub trait TryLock {
    /// What keeps the lock: dropping it releases.
    type Guard;
    /// Why the lock could not be taken.
    type Error: Temporary;

    /// Takes the lock if it is free, without waiting.
    ///
    /// # Errors
    ///
    /// A temporary error if somebody else has the lock.
    fn try_lock(&self) -> Result<Self::Guard, Self::Error>;

    /// Returns what tells of changes to the lock from now on; `None`, the default, if nothing does.
    ///
    /// A run asks for it before a sleep, and then calls `try_lock` once more: what happened before the
    /// watch was there is found in that way. It asks again before each attempt that news brings about.
    fn watch(&self) -> Option<Watch> {
        None
    }
}

impl TryLock for Lockfile {
    type Guard = LockGuard;
    type Error = Error;

    fn try_lock(&self) -> Result<LockGuard, Error> {
        self.try_lock()
    }

    fn watch(&self) -> Option<Watch> {
        Watch::of_file(self.path())
    }
}
