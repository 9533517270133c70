//! What a run needs from an error: whether to try again, and a text.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::Error;

/// An error that a run can report: every `'static` type with `Display` and `Debug`.
pub trait Failure: fmt::Display + fmt::Debug + Any {}

impl<E: fmt::Display + fmt::Debug + Any> Failure for E {}

/// An error that may go away by itself.
///
/// [`Retry::call`](crate::retry::Retry::call) tries again as long as [`is_temporary`](Temporary::is_temporary)
/// returns true. [`Error`] and [`io::Error`] implement it. For another crate's error,
/// [`Retry::call_when`](crate::retry::Retry::call_when) takes a closure instead.
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
pub trait Temporary: Failure {
    /// Returns whether trying again later can help.
    fn is_temporary(&self) -> bool;

    /// Returns the process of this machine that holds the lock, if the error knows it.
    ///
    /// It is used in messages only: by [`Attempt::owner`](crate::retry::Attempt::owner) and the `tracing`
    /// events.
    fn owner(&self) -> Option<u32> {
        None
    }

    /// Returns a name for the holder of the lock, for a log; by default the pid of the
    /// [owner](Temporary::owner).
    ///
    /// [`Retry::on_new_owner`](crate::retry::Retry::on_new_owner) compares it to notice a new holder.
    fn holder(&self) -> Option<Cow<'_, str>> {
        self.owner().map(|pid| pid.to_string().into())
    }

    /// Returns the delay that the lock service asks for, in place of the policy's next one.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// Returns whether file descriptors or memory had run out.
    ///
    /// Such an error ends a run only at the first attempt. Later the wait itself may use what is missing: the
    /// run then gives up its watch and goes on by its delays.
    fn is_shortage(&self) -> bool {
        false
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

    fn is_shortage(&self) -> bool {
        let cause = self.source().and_then(|source| source.downcast_ref::<io::Error>());
        cause.is_some_and(Temporary::is_shortage)
    }
}

/// [`WouldBlock`](io::ErrorKind::WouldBlock), [`Interrupted`](io::ErrorKind::Interrupted),
/// [`TimedOut`](io::ErrorKind::TimedOut) and [`ResourceBusy`](io::ErrorKind::ResourceBusy) are temporary.
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

    fn is_shortage(&self) -> bool {
        let short = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
        short.iter().any(|&errno| self.raw_os_error() == Some(errno as i32))
    }
}

/// What to do after an error: the result of the closure that
/// [`Retry::call_when`](crate::retry::Retry::call_when) takes.
///
/// A `bool` converts to it: `true` to [`Scheduled`](Again::Scheduled), `false` to [`Never`](Again::Never).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The run gives up.
    Never,
    /// The operation is tried again after the policy's next delay.
    Scheduled,
    /// The operation is tried again after this delay, as a server's `Retry-After` asks for.
    After(Duration),
}

impl From<bool> for Again {
    fn from(again: bool) -> Again {
        if again { Again::Scheduled } else { Again::Never }
    }
}
