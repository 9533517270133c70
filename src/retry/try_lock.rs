//! What a lock must offer so that a run can wait for it.

use std::borrow::Cow;
use std::ops::Deref;

use crate::error::Error;
use crate::guard::LockGuard;
use crate::lockfile::Lockfile;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::retry::inotify;
use crate::retry::temporary::Temporary;
use crate::retry::watch::Watch;

/// A lock that can be tried without waiting.
///
/// [`Lockfile`] implements it. Implement it for a lock that is kept elsewhere, by etcd or
/// a database, once one machine is not enough: policies, hooks and cancellation stay the same.
///
/// Where the lock's keeper can tell of a release, as PostgreSQL can by `NOTIFY`, [`watch`](TryLock::watch)
/// hands a run the descriptor on which that event arrives; then a delay ends early.
///
/// `try_lock` should return at once. An error that another try can mend says so through
/// [`Temporary`]; every other one ends the run.
///
/// # Examples
///
/// A lock kept by PostgreSQL, as long as its session lasts:
///
/// ```
/// use std::{fmt, sync::Arc};
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
/// # impl fmt::Display for NotLocked {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{self:?}") }
/// # }
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

    /// Returns what raises events about the lock from now on; `None`, the default, if nothing does.
    ///
    /// A run asks for it before an attempt, so that what happens after the attempt is an event. It asks
    /// again before each attempt that an event brings about.
    fn watch(&self) -> Option<Watch> {
        None
    }

    /// Returns what to call the lock in `tracing` events, such as its path; `None`, the default, for no name.
    fn name(&self) -> Option<Cow<'_, str>> {
        None
    }
}

impl TryLock for Lockfile {
    type Guard = LockGuard;
    type Error = Error;

    fn try_lock(&self) -> Result<LockGuard, Error> {
        self.try_lock()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn watch(&self) -> Option<Watch> {
        inotify::watch_file(self.path())
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(self.path().to_string_lossy())
    }
}

/// A reference to a lock, or an [`Arc`](std::sync::Arc) of one.
impl<P: Deref<Target: TryLock>> TryLock for P {
    type Guard = <P::Target as TryLock>::Guard;
    type Error = <P::Target as TryLock>::Error;

    fn try_lock(&self) -> Result<Self::Guard, Self::Error> {
        (**self).try_lock()
    }

    fn watch(&self) -> Option<Watch> {
        (**self).watch()
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        (**self).name()
    }
}
