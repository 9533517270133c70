//! What a run tells: of an attempt that failed, and why it gave up.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::Error;
use crate::retry::temporary::{Failure, Temporary};

/// A failed attempt that another one will follow, as [`Retry::on_wait`](crate::retry::Retry::on_wait)
/// hands it to its hook.
///
/// Its text says all that one wants to log: the error, with its remedy, and when the next attempt follows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// Which attempt it was; the first is 1.
    pub number: u32,
    /// Why it failed.
    pub error: &'a dyn Failure,
    /// How long the run has lasted.
    pub elapsed: Duration,
    /// How long it is until the next attempt, unless an event ends the delay early. The time that the
    /// hook takes is part of it.
    pub next_delay: Duration,
    pub(super) owner: Option<u32>,
    pub(super) holder: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    /// Returns the process of this machine that holds the lock, if the error knows it.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Returns who holds the lock, if the error knows it: a pid, or what the lock's keeper calls the holder.
    #[must_use]
    pub fn holder(&self) -> Option<&'a str> {
        self.holder
    }

    /// Returns the error as the type that it has, for more than its text.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::Error;
    /// use pidlockfile::retry::Attempt;
    ///
    /// fn is_certain(attempt: &Attempt<'_>) -> bool {
    ///     matches!(attempt.error_as(), Some(Error::Busy { kernel_locked: true, .. }))
    /// }
    /// ```
    #[must_use]
    pub fn error_as<E: Failure>(&self) -> Option<&'a E> {
        (self.error as &dyn Any).downcast_ref()
    }
}

impl fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt { number, error, elapsed, next_delay, .. } = self;
        write!(f, "{error} (attempt {number}")?;
        if is_worth_telling(*elapsed) {
            write!(f, " after {}", rounded(*elapsed))?;
        }
        write!(f, ", the next within {})", rounded(*next_delay))
    }
}

/// A run that ended without success.
///
/// Its text says why the run ended and what the last attempt failed with, the holder of the lock
/// included; of a permanent error, it is that error's own text. What caused the last error is in
/// [`source`](StdError::source).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryError<E> {
    /// Why the run ended.
    pub reason: GaveUp,
    /// How many attempts were made, the first included, and those that events brought about.
    pub attempts: u32,
    /// How long the run lasted.
    pub elapsed: Duration,
    /// What the last attempt failed with; `None` if none was made, or none was answered.
    pub last: Option<E>,
}

/// Why a run gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GaveUp {
    /// The last error is one that trying again cannot help.
    Permanent,
    /// `max_attempts` were made.
    Attempts,
    /// `max_elapsed` is over.
    Deadline,
    /// The [`CancelToken`](crate::retry::CancelToken) was cancelled.
    Cancelled,
}

impl<E> RetryError<E> {
    /// Makes one, for a test of what a program does with it: one attempt, and no time.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::Error;
    /// use pidlockfile::retry::{GaveUp, RetryError};
    ///
    /// let busy = Error::Busy { path: "/run/x.pid".into(), pid: Some(7), kernel_locked: true };
    /// let error = RetryError::new(GaveUp::Deadline, busy);
    /// assert!(error.is_busy());
    /// assert_eq!(error.owner(), Some(7));
    /// ```
    pub fn new(reason: GaveUp, last: impl Into<Option<E>>) -> RetryError<E> {
        let last = last.into();
        let attempts = last.is_some().into();
        RetryError { reason, attempts, elapsed: Duration::ZERO, last }
    }

    /// Returns whether the run gave up because the error had not gone away: somebody else has the lock.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self.reason, GaveUp::Attempts | GaveUp::Deadline)
    }

    /// Returns whether a [`CancelToken`](crate::retry::CancelToken) ended the run.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.reason == GaveUp::Cancelled
    }

    /// Returns whether trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.reason == GaveUp::Permanent
    }
}

impl<E: Temporary> RetryError<E> {
    /// Returns the process that held the lock at the last attempt, if its error knows it.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.last.as_ref().and_then(Temporary::owner)
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, &self.last) {
            (GaveUp::Permanent, Some(last)) => return last.fmt(f),
            (GaveUp::Permanent, None) => return f.write_str("failed for good"),
            (GaveUp::Cancelled, None) if self.attempts == 0 => {
                return f.write_str("cancelled before the first attempt");
            }
            (GaveUp::Cancelled, _) => f.write_str("cancelled after ")?,
            (GaveUp::Attempts | GaveUp::Deadline, _) => f.write_str("gave up after ")?,
        }
        if is_worth_telling(self.elapsed) && self.reason != GaveUp::Attempts {
            write!(f, "{} and ", rounded(self.elapsed))?;
        }
        write!(f, "{} attempt{}", self.attempts, if self.attempts == 1 { "" } else { "s" })?;
        match &self.last {
            Some(last) => write!(f, ": {last}"),
            None => f.write_str(": no answer"),
        }
    }
}

impl<E: StdError + 'static> StdError for RetryError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.last.as_ref().and_then(StdError::source)
    }
}

/// A run out of time becomes [`TimedOut`](io::ErrorKind::TimedOut), one out of attempts
/// [`WouldBlock`](io::ErrorKind::WouldBlock), a cancelled one [`Other`](io::ErrorKind::Other): nobody
/// should try that again. A permanent [`Error`] or [`io::Error`] keeps its kind, any other becomes `Other`
/// too. The `RetryError` itself is inside: [`io::Error::get_ref`].
impl<E: StdError + Send + Sync + 'static> From<RetryError<E>> for io::Error {
    fn from(error: RetryError<E>) -> io::Error {
        let kind = match error.reason {
            GaveUp::Permanent => error.last.as_ref().map_or(io::ErrorKind::Other, kind_of),
            GaveUp::Attempts => io::ErrorKind::WouldBlock,
            GaveUp::Deadline => io::ErrorKind::TimedOut,
            GaveUp::Cancelled => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn kind_of(error: &(impl StdError + 'static)) -> io::ErrorKind {
    let error: &dyn Any = error;
    if let Some(error) = error.downcast_ref::<io::Error>() {
        error.kind()
    } else if let Some(error) = error.downcast_ref::<Error>() {
        error.io_kind()
    } else {
        io::ErrorKind::Other
    }
}

/// Less than a millisecond is no time to tell a reader of.
fn is_worth_telling(time: Duration) -> bool {
    time >= Duration::from_millis(1)
}

/// As a reader wants it: `1.2s`, `15ms`.
fn rounded(time: Duration) -> String {
    let is_long = time >= Duration::from_secs(1);
    if is_long { format!("{time:.1?}") } else { format!("{}ms", time.as_millis()) }
}
