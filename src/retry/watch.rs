//! Sources of events about a lock: file descriptors that become readable.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Raises an event when a lock may be free: [`TryLock::watch`](crate::retry::TryLock::watch) returns one.
///
/// For a lock that is kept elsewhere, make it from a file descriptor that becomes readable at an event. A run
/// does not read from the descriptor: `try_lock` or the next `watch` must do so, or the run takes the same
/// event for a new one. The descriptor is dropped after the wait and after every event, so pass a copy
/// ([`try_clone`](OwnedFd::try_clone)) of one that must stay open. A needless event costs an attempt, and makes
/// the run answer the next event a little later.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use pidlockfile::retry::Watch;
///
/// # fn main() -> io::Result<()> {
/// let (events, raiser) = io::pipe()?;
/// let watch = Watch::from(std::os::fd::OwnedFd::from(events));
/// # drop((watch, raiser));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Watch(pub(super) Box<dyn Watched>);

/// What happened to a lock.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code))]
pub(super) enum Event {
    /// A process that could write to the file closed it; no more is known.
    Closed,
    /// The owner has ended.
    Ended,
    Other,
}

/// A watched lock.
pub(super) trait Watched: fmt::Debug + Send + Sync {
    /// The descriptors that become readable at an event. If there is none, the lock must be tried and watched
    /// again.
    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3];

    /// The descriptor that becomes readable when the owner ends.
    fn owner(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes the event; `None` if it concerns an earlier owner's file.
    fn event(&self) -> Option<Event> {
        Some(Event::Other)
    }

    /// Watches the file that is there now.
    fn renew(self: Box<Self>, source: &dyn Fn() -> Option<Watch>) -> Option<Watch> {
        drop(self);
        source()
    }
}

/// A descriptor from outside.
impl Watched for OwnedFd {
    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        [Some(self.as_fd()), None, None]
    }
}

impl From<OwnedFd> for Watch {
    fn from(descriptor: OwnedFd) -> Watch {
        Watch(Box::new(descriptor))
    }
}
