//! What raises events about a lock: file descriptors that become readable.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::retry::watch::inotify::{FileWatch, end_of_owner};

pub(super) use crate::retry::watch::inotify::Event;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod inotify;

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
pub struct Watch {
    file: Option<FileWatch>,
    /// Becomes readable at the end of the owner, or was handed in from outside.
    other: Option<OwnedFd>,
}

/// What a sleep listens to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Listen {
    All,
    /// That it has ended is told once, and most attempts before it fail.
    EndOfOwner,
}

impl From<OwnedFd> for Watch {
    fn from(descriptor: OwnedFd) -> Watch {
        Watch { file: None, other: Some(descriptor) }
    }
}

impl Watch {
    /// Watches a lock file and the process that its record names.
    pub(super) fn of_file(path: &Path) -> Option<Watch> {
        Watch::of(FileWatch::new(path), path)
    }

    /// Watches what has the lock by now. A watch from outside is asked for again, at `source`.
    pub(super) fn renew(self, source: impl Fn() -> Option<Watch>) -> Option<Watch> {
        match self.file {
            Some(file) if file.is_our_own() => {
                drop(self.other);
                let path = file.path().to_owned();
                Watch::of(file.renew(), &path)
            }
            file => {
                drop((file, self.other));
                source()
            }
        }
    }

    fn of(file: Result<FileWatch, Errno>, path: &Path) -> Option<Watch> {
        match file {
            Ok(file) => {
                // The record is read after the file is watched: a record that changes later is an event itself.
                // Of a process that has ended already, such as a zombie, there is nothing more to learn.
                let other = end_of_owner(path).filter(|end| !is_readable(end.as_fd()));
                Some(Watch { file: Some(file), other })
            }
            // It has just gone, which is the very event.
            Err(Errno::ENOENT) => Some(Watch { file: None, other: None }),
            Err(_) => None,
        }
    }

    /// Whether its descriptors can tell nothing, so that the lock must be tried and watched again.
    pub(super) fn is_spent(&self) -> bool {
        match &self.file {
            // A child forked in the middle of a wait must not wait on what its parent empties.
            Some(file) => !file.is_our_own(),
            None => self.other.is_none(),
        }
    }

    pub(super) fn descriptors(&self, listen: Listen) -> impl Iterator<Item = BorrowedFd<'_>> {
        let file = self.file.as_ref().map(FileWatch::descriptors);
        let other = self.other.as_ref().map(OwnedFd::as_fd);
        let (file, other) = match listen {
            Listen::All => (file, other),
            // Without a file, the other is from outside.
            Listen::EndOfOwner => (None, file.and(other)),
        };
        file.into_iter().flatten().chain(other)
    }

    /// Takes what has happened; `None` if that was to an earlier owner's file.
    pub(super) fn event(&self) -> Option<Event> {
        let has_ended = self.other.as_ref().is_some_and(|end| is_readable(end.as_fd()));
        match &self.file {
            Some(file) if file.is_our_own() && has_ended => Some(Event::Ended),
            Some(file) if file.is_our_own() => file.event(),
            _ => Some(Event::Other),
        }
    }

    /// Gives back what the process keeps for its next wait.
    pub(super) fn give_back() {
        FileWatch::give_back();
    }
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut poll_fd = [PollFd::new(descriptor, PollFlags::POLLIN)];
    !matches!(poll(&mut poll_fd, PollTimeout::ZERO), Ok(0) | Err(Errno::EINTR))
}

/// Where the kernel tells nothing of a lock file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod inotify {
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    use nix::errno::Errno;

    #[derive(Clone, Copy, PartialEq)]
    #[expect(dead_code, reason = "no event is raised")]
    pub(in crate::retry) enum Event {
        Closed,
        Ended,
        Other,
    }

    #[derive(Debug)]
    pub(super) enum FileWatch {}

    impl FileWatch {
        pub(super) fn new(_path: &Path) -> Result<FileWatch, Errno> {
            Err(Errno::ENOSYS)
        }

        pub(super) fn renew(self) -> Result<FileWatch, Errno> {
            match self {}
        }

        pub(super) fn path(&self) -> &Path {
            match *self {}
        }

        pub(super) fn is_our_own(&self) -> bool {
            match *self {}
        }

        pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
            match *self {}
        }

        pub(super) fn event(&self) -> Option<Event> {
            match *self {}
        }

        pub(super) fn give_back() {}
    }

    pub(super) fn end_of_owner(_path: &Path) -> Option<OwnedFd> {
        None
    }
}
