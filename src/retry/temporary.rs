//! What a run asks of an error: whether to try again, and a text.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::Error;

/// An error that a run can report: every `'static` type with a text is one.
pub trait Failure: fmt::Display + fmt::Debug + Any {}

impl<E: fmt::Display + fmt::Debug + Any> Failure for E {}

/// An error that may go away by itself.
///
/// [`Retry::call`](crate::retry::Retry::call) tries again as long as
/// [`is_temporary`](Temporary::is_temporary) says yes. [`Error`] implements it, and so does
/// [`io::Error`]. For an error of another crate, [`Retry::call_when`](crate::retry::Retry::call_when)
/// takes a closure instead.
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
    /// It is for messages: [`Attempt::owner`](crate::retry::Attempt::owner) and the `tracing` events
    /// ask for it.
    fn owner(&self) -> Option<u32> {
        None
    }

    /// Returns who holds the lock, in words for a log; by default the pid of the [owner](Temporary::owner).
    ///
    /// By it [`Retry::on_new_owner`](crate::retry::Retry::on_new_owner) tells one holder from the next.
    fn holder(&self) -> Option<Cow<'_, str>> {
        self.owner().map(|pid| pid.to_string().into())
    }

    /// Returns the delay that the lock's keeper asks for, in place of the policy's next one.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// Returns whether file descriptors or memory had run out.
    ///
    /// Such an error ends a run only if the first attempt fails with it. Later on, the wait itself may
    /// use what is missing: the run gives up its wake-ups and goes on by its delays.
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

    fn is_shortage(&self) -> bool {
        let short = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
        short.iter().any(|&errno| self.raw_os_error() == Some(errno as i32))
    }
}

/// What follows an error: the answer of the closure of [`Retry::call_when`](crate::retry::Retry::call_when).
///
/// A `bool` becomes one: `true` is [`Scheduled`](Again::Scheduled), `false` [`Never`](Again::Never).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The run gives up.
    Never,
    /// The operation is tried again after the policy's next delay.
    Scheduled,
    /// It is tried again after this delay, as a server's `Retry-After` asks for.
    After(Duration),
}

impl From<bool> for Again {
    fn from(again: bool) -> Again {
        if again { Again::Scheduled } else { Again::Never }
    }
}
