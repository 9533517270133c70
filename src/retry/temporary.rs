//! Whether trying again can help.

use std::io;

use crate::error::Error;

/// An error that may go away by itself.
///
/// [`Retry::call`](crate::retry::Retry::call) tries again as long as
/// [`is_temporary`](Temporary::is_temporary) says yes. [`Error`] implements it, and so does
/// [`io::Error`].
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use pidlockfile::retry::Temporary;
///
/// assert!(io::Error::from(io::ErrorKind::WouldBlock).is_temporary());
/// assert!(!io::Error::from(io::ErrorKind::PermissionDenied).is_temporary());
/// ```
pub trait Temporary {
    /// Returns whether trying again later can help.
    fn is_temporary(&self) -> bool;

    /// Returns the process that stands in the way, if the error knows it.
    ///
    /// For messages only: [`Attempt::owner`](crate::retry::Attempt::owner) and the `tracing` events
    /// ask for it. An error of your own need not implement it.
    fn owner(&self) -> Option<u32> {
        None
    }
}

impl Temporary for Error {
    fn is_temporary(&self) -> bool {
        self.is_temporary()
    }

    fn owner(&self) -> Option<u32> {
        match self {
            Error::Busy { pid, .. } => *pid,
            _ => None,
        }
    }
}

/// Temporary are [`WouldBlock`](io::ErrorKind::WouldBlock),
/// [`Interrupted`](io::ErrorKind::Interrupted), [`TimedOut`](io::ErrorKind::TimedOut) and
/// [`ResourceBusy`](io::ErrorKind::ResourceBusy).
impl Temporary for io::Error {
    fn is_temporary(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::TimedOut
                | io::ErrorKind::ResourceBusy
        )
    }
}
