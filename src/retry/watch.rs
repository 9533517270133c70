//! What raises events about a lock: file descriptors that become readable.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Becomes ready when a lock may be free: [`TryLock::watch`](crate::retry::TryLock::watch) makes one.
///
/// For a lock that is kept elsewhere, make it of a file descriptor that becomes readable then. Nothing is
/// read from it: `try_lock` or the next `watch` has to, or the event is taken for a new one each time. It is
/// dropped after the wait and after every event, so hand in a copy ([`try_clone`](OwnedFd::try_clone))
/// of one that must live on. An event for nothing costs an attempt, and after each of those the run takes
/// a little longer to answer the next.
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

/// What has happened to a lock.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code))]
pub(super) enum Event {
    /// The file was closed by a process that could write to it, and no more than that is known.
    Closed,
    /// The owner has ended.
    Ended,
    Other,
}

/// A lock that is watched.
pub(super) trait Watched: fmt::Debug + Send + Sync {
    /// What becomes readable at an event. If there is none, the lock must be tried and watched again.
    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3];

    /// What becomes readable at the end of the owner.
    fn owner(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes what has happened; `None` if that was to an earlier owner's file.
    fn event(&self) -> Option<Event> {
        Some(Event::Other)
    }

    /// Watches what has the lock by now.
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
