//! Why a run gave up.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::Error;
use crate::retry::Temporary;

/// A run that ended without success.
///
/// Its text says why the run ended. What the last attempt failed with is in [`source`](StdError::source)
/// and in `last`, who held the lock then in [`owner`](RetryError::owner).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryError<E> {
    /// Why the run ended.
    pub reason: GaveUp,
    /// How many attempts were made, the first included, and those that news of the lock brought about.
    pub attempts: u32,
    /// How long the run lasted.
    pub elapsed: Duration,
    /// What the last attempt failed with; `None` if the run was cancelled before the first.
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

impl<E: Temporary> RetryError<E> {
    /// Returns the process that stood in the way of the last attempt, if its error knows it.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.last.as_ref().and_then(Temporary::owner)
    }
}

impl<E> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RetryError { attempts, elapsed, .. } = self;
        let plural = if *attempts == 1 { "" } else { "s" };
        match self.reason {
            GaveUp::Permanent => write!(f, "attempt {attempts} failed for good"),
            GaveUp::Attempts => write!(f, "gave up after {attempts} attempt{plural}"),
            GaveUp::Deadline => {
                write!(f, "gave up after {elapsed:.1?} and {attempts} attempt{plural}")
            }
            GaveUp::Cancelled if *attempts == 0 => {
                write!(f, "cancelled before the first attempt")
            }
            GaveUp::Cancelled => {
                write!(f, "cancelled after {elapsed:.1?} and {attempts} attempt{plural}")
            }
        }
    }
}

impl<E: StdError + 'static> StdError for RetryError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.last.as_ref().map(|error| error as _)
    }
}

/// A run out of time becomes [`TimedOut`](io::ErrorKind::TimedOut), one out of attempts
/// [`WouldBlock`](io::ErrorKind::WouldBlock), a cancelled one [`Other`](io::ErrorKind::Other): nobody
/// should try that again. A permanent [`Error`] or [`io::Error`] keeps its kind, any other becomes `Other`
/// too. The `RetryError` itself is inside: [`io::Error::get_ref`].
impl<E: StdError + Send + Sync + 'static> From<RetryError<E>> for io::Error {
    fn from(error: RetryError<E>) -> io::Error {
        let kind = match error.reason {
            GaveUp::Permanent => error.source().map_or(io::ErrorKind::Other, kind_of),
            GaveUp::Attempts => io::ErrorKind::WouldBlock,
            GaveUp::Deadline => io::ErrorKind::TimedOut,
            GaveUp::Cancelled => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn kind_of(error: &(dyn StdError + 'static)) -> io::ErrorKind {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        error.kind()
    } else if let Some(error) = error.downcast_ref::<Error>() {
        error.io_kind()
    } else {
        io::ErrorKind::Other
    }
}
