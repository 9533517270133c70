//! What a lock must offer so that a run can wait for it.

use std::borrow::Cow;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::task::Poll;

use crate::error::Error;
use crate::guard::LockGuard;
use crate::lockfile::Lockfile;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::retry::inotify;
use crate::retry::temporary::Temporary;
use crate::retry::watch::Watch;

/// A lock that can be tried without waiting.
///
/// [`Lockfile`] implements it. Once one machine is not enough, implement it for a lock that a *lock service*
/// keeps, such as etcd or a database: policies, hooks and cancellation stay the same.
///
/// If the service can report a release, as PostgreSQL does by `NOTIFY`, implement [`watch`](TryLock::watch): it
/// returns the descriptor on which that event arrives, and the event ends a delay early.
///
/// `try_lock` returns as soon as the service answers. If that can take longer than a few milliseconds,
/// implement [`line_up`](TryLock::line_up), which gives each run a [`Place`]. Then a deadline or a token ends
/// an attempt that is not answered, waiters are served in order, and an async run blocks no thread.
///
/// An error is retried if its [`Temporary`] implementation says so; every other error ends the run.
///
/// If a service grants the lock for a limited time, the lock can be lost while the guard lives. Let the guard
/// report that, for instance through a [`CancelToken`](crate::retry::CancelToken).
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

    /// Returns a watch that raises events about the lock from now on; `None`, the default, if nothing does.
    ///
    /// A run calls this before an attempt, so that a later change raises an event. It calls this again before
    /// each attempt that an event causes.
    fn watch(&self) -> Option<Watch> {
        None
    }

    /// Returns the place of a new run in the line; `None`, the default, for a lock without a line.
    ///
    /// A run with a place uses it for all its attempts, the first included, instead of
    /// [`try_lock`](TryLock::try_lock) and [`watch`](TryLock::watch), and drops it when it ends.
    fn line_up(&self) -> Option<BoxedPlace<'_, Self::Guard, Self::Error>> {
        None
    }

    /// Returns the lock's name in `tracing` events, such as its path; `None`, the default, for no name.
    fn name(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// What [`TryLock::line_up`] returns: a [`Place`] for a guard `G` or an error `E`.
pub type BoxedPlace<'a, G, E> = Box<dyn Place<Guard = G, Error = E> + Send + 'a>;

/// The place of one run in the line of waiters at a lock service: [`TryLock::line_up`] creates it.
///
/// It asks the service without blocking, on its own thread or task if need be. Its descriptor becomes readable
/// when [`poll_lock`](Place::poll_lock) can go on: an answer has come, or it is this place's turn. Use a pipe
/// or an eventfd, which `poll_lock` must read until it is empty. An event is meant for this run alone, so the
/// run tries again at once; a needless event costs one attempt.
///
/// Dropping the place leaves the line. If an attempt is still under way then, and takes the lock, release that
/// lock.
pub trait Place: AsFd {
    /// What keeps the lock: dropping it releases.
    type Guard;
    /// Why the lock could not be taken.
    type Error;

    /// Starts an attempt or continues it; pending until the service answers.
    ///
    /// The next call after an error starts another attempt. A place learns of its turn, so it does not need the
    /// policy's growing delays: let its error ask for a longer delay by
    /// [`retry_after`](Temporary::retry_after).
    fn poll_lock(&mut self) -> Poll<Result<Self::Guard, Self::Error>>;

    /// Starts to leave the line or continues that; pending until the service knows.
    ///
    /// A run that gives up calls this before it drops the place, and waits a moment for it: the program may end
    /// right after that, and a place that is still in line would hold up the others. The default returns at
    /// once.
    fn poll_leave(&mut self) -> Poll<()> {
        Poll::Ready(())
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

    fn line_up(&self) -> Option<BoxedPlace<'_, Self::Guard, Self::Error>> {
        (**self).line_up()
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        (**self).name()
    }
}
