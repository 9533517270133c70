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
/// [`Lockfile`] implements it. Implement it for a lock that is kept elsewhere, by etcd or
/// a database, once one machine is not enough: policies, hooks and cancellation stay the same.
///
/// Where the lock's keeper can tell of a release, as PostgreSQL can by `NOTIFY`, [`watch`](TryLock::watch)
/// hands a run the descriptor on which that event arrives; then a delay ends early.
///
/// `try_lock` returns at once, or as soon as the lock's keeper answers. Where that can take longer than a few
/// milliseconds, [`line_up`](TryLock::line_up) gives each run a [`Place`]: then a deadline and a token end an attempt
/// that is not answered, waiters are served in order, and an async run blocks no thread.
///
/// An error that another try can mend says so through [`Temporary`]; every other one ends the run.
///
/// A lock that its keeper grants for a time only can be lost while the guard lives: let the guard tell, by a
/// [`CancelToken`](crate::retry::CancelToken) for one.
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

    /// Returns a place of its own for a run that begins; `None`, the default, for a lock that has none.
    ///
    /// A run that has a place asks it for all its attempts, the first included, in place of
    /// [`try_lock`](TryLock::try_lock) and [`watch`](TryLock::watch). It is dropped when the run ends.
    fn line_up(&self) -> Option<BoxedPlace<'_, Self::Guard, Self::Error>> {
        None
    }

    /// Returns what to call the lock in `tracing` events, such as its path; `None`, the default, for no name.
    fn name(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// What [`TryLock::line_up`] returns: a [`Place`] for a guard `G` or an error `E`.
pub type BoxedPlace<'a, G, E> = Box<dyn Place<Guard = G, Error = E> + Send + 'a>;

/// The place of one run in the line of a lock, which a keeper elsewhere serves: [`TryLock::line_up`] makes one.
///
/// It asks the keeper without blocking, on a thread or a task of its own if need be. Its descriptor becomes readable
/// when [`poll_lock`](Place::poll_lock) has more to say: an answer has come, or it is the place's turn. A pipe or an
/// eventfd will do; `poll_lock` reads it empty. What the descriptor tells is meant for this run alone, so the run
/// tries again at once, and an event for nothing costs an attempt.
///
/// To drop it leaves the line. If an attempt is still under way then, what it takes must be released later.
pub trait Place: AsFd {
    /// What keeps the lock: dropping it releases.
    type Guard;
    /// Why the lock could not be taken.
    type Error;

    /// Starts an attempt, or goes on with the one that is under way; pending until the keeper answers.
    ///
    /// The next call after an error starts another attempt. A policy's growing delays are of little use to a
    /// place that is told of its turn: let its error ask for a longer one by
    /// [`retry_after`](Temporary::retry_after).
    fn poll_lock(&mut self) -> Poll<Result<Self::Guard, Self::Error>>;

    /// Starts to leave the line, or goes on with that; pending until the keeper knows.
    ///
    /// A run that gives up calls it before it drops the place, and waits a moment for it: the program may end
    /// right after that, and a place that nobody gave back would hold up the line. By default there is
    /// nothing to wait for.
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
