//! What a run reports: a failed attempt, and why it gave up.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::Error;
use crate::retry::temporary::{Failure, Temporary};

/// A failed attempt, before another one follows. [`Retry::on_wait`](crate::retry::Retry::on_wait) passes it to
/// its hook.
///
/// Its text is a complete log message: the error, with its remedy, and when the next attempt follows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The number of the attempt; the first is 1.
    pub number: u32,
    /// Why it failed.
    pub error: &'a dyn Failure,
    /// How long the run has lasted.
    pub elapsed: Duration,
    /// The time until the next attempt, unless an event ends the delay early. It includes the time that the
    /// hook takes.
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

    /// Returns who holds the lock, if the error knows it: a pid, or the lock service's name for the holder.
    #[must_use]
    pub fn holder(&self) -> Option<&'a str> {
        self.holder
    }

    /// Returns the error as its concrete type, for more than its text.
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
/// Its text says why the run ended and names the last attempt's error, with the holder of the lock; for a
/// permanent error it is that error's text alone. The cause of the last error is the
/// [`source`](StdError::source).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryError<E> {
    /// Why the run ended.
    pub reason: GaveUp,
    /// How many attempts were made, including the first and those that events caused.
    pub attempts: u32,
    /// How long the run lasted.
    pub elapsed: Duration,
    /// The error of the last attempt; `None` if no attempt was made, or none was answered.
    pub last: Option<E>,
}

/// Why a run gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GaveUp {
    /// The last error is permanent: trying again cannot help.
    Permanent,
    /// `max_attempts` attempts were made.
    Attempts,
    /// `max_elapsed` has passed.
    Deadline,
    /// The [`CancelToken`](crate::retry::CancelToken) was cancelled.
    Cancelled,
}

impl<E> RetryError<E> {
    /// Creates an error for a program's own tests: after one attempt, and no time.
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

    /// Returns whether the run gave up while the error was still temporary: somebody else has the lock.
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

/// The kind is [`TimedOut`](io::ErrorKind::TimedOut) after the deadline,
/// [`WouldBlock`](io::ErrorKind::WouldBlock) after the last attempt, and [`Other`](io::ErrorKind::Other) after
/// cancellation, so that nobody retries it. A permanent [`Error`] or [`io::Error`] keeps its kind; any other
/// permanent error becomes `Other`. [`io::Error::get_ref`] returns the `RetryError` itself.
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

/// A reader does not need less than a millisecond.
fn is_worth_telling(time: Duration) -> bool {
    time >= Duration::from_millis(1)
}

/// Rounded for a reader: `1.2s`, `15ms`.
fn rounded(time: Duration) -> String {
    let is_long = time >= Duration::from_secs(1);
    if is_long { format!("{time:.1?}") } else { format!("{}ms", time.as_millis()) }
}
