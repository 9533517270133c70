//! What tells that a lock may be free: file descriptors that become readable.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::retry::trace::Trace;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod inotify;

/// Becomes ready when there is news of a lock: [`TryLock::watch`](crate::retry::TryLock::watch) makes
/// one.
///
/// For a lock that is kept elsewhere, make it of a file descriptor that becomes readable when the lock
/// may be free. Nothing is read from it: `try_lock` or the next `watch` has to, or the news is taken
/// for new each time. It is dropped after the wait and after every news, so hand in a copy
/// ([`try_clone`](OwnedFd::try_clone)) of one that must live on. Being wrong costs an attempt.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use pidlockfile::retry::Watch;
///
/// # fn main() -> io::Result<()> {
/// let (news, teller) = io::pipe()?;
/// let watch = Watch::from(std::os::fd::OwnedFd::from(news));
/// # drop((watch, teller));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    file: Option<inotify::FileWatch>,
    /// Becomes readable at the end of the owner, or is a stranger's.
    other: Option<OwnedFd>,
}

impl From<OwnedFd> for Watch {
    fn from(descriptor: OwnedFd) -> Watch {
        Watch {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            file: None,
            other: Some(descriptor),
        }
    }
}

impl Watch {
    /// Watches a lock file and the process that its record names.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn of_file(path: &Path) -> Option<Watch> {
        match inotify::FileWatch::new(path) {
            // The record is read after the file is watched: a record that changes later is news itself.
            Ok(file) => Some(Watch { file: Some(file), other: inotify::end_of_owner(path) }),
            // It has just gone, which is the very news.
            Err(rustix::io::Errno::NOENT) => Some(Watch { file: None, other: None }),
            Err(error) => {
                Trace::unwatched(error);
                None
            }
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn of_file(_path: &Path) -> Option<Watch> {
        None
    }

    /// Whether its descriptors can tell nothing, so that the lock must be tried and watched again.
    pub(super) fn is_spent(&self) -> bool {
        // A child forked in the middle of a wait must not wait on what its parent empties.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(file) = &self.file {
            return !file.is_our_own();
        }
        self.other.is_none()
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let file = self.file.as_ref().map(inotify::FileWatch::descriptor);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let file = None;
        file.into_iter().chain(self.other.as_ref().map(OwnedFd::as_fd))
    }

    /// Whether there is news now.
    pub(super) fn is_ready(&self) -> bool {
        self.is_spent() || self.descriptors().any(is_readable)
    }
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut poll_fd = [PollFd::new(descriptor, PollFlags::POLLIN)];
    !matches!(poll(&mut poll_fd, PollTimeout::ZERO), Ok(0) | Err(Errno::EINTR))
}
