//! What tells that a lock may be free: file descriptors that become readable.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[cfg(any(target_os = "linux", target_os = "android"))]
use inotify as kernel;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use none as kernel;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod inotify;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod none;

/// Becomes ready when there is news of a lock: [`TryLock::watch`](crate::retry::TryLock::watch) makes
/// one.
///
/// For a lock that is kept elsewhere, make it of a file descriptor that becomes readable when the lock
/// may be free. Nothing is read from it: `try_lock` or the next `watch` has to, or the news is taken
/// for new each time. It is dropped after the wait and after every news, so hand in a copy
/// ([`try_clone`](OwnedFd::try_clone)) of one that must live on. Being wrong costs an attempt. After each attempt
/// in vain that news has brought about, the run takes longer to believe the next, up to 26 ms.
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
    file: Option<kernel::FileWatch>,
    /// Becomes readable at the end of the owner, or is a stranger's.
    other: Option<OwnedFd>,
}

/// What a sleep listens to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Listen {
    All,
    /// That it has ended is told once, and most attempts before it fail.
    EndOfOwner,
    Nothing,
}

/// What there is to hear.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum News {
    /// Nothing, or what is left of an earlier watch.
    None,
    /// The file was closed by somebody who could write to it, and no more than that is known.
    Closed,
    /// The owner has ended.
    Ended,
    Other,
}

/// Why a file is not watched.
enum Unwatched {
    /// It has just gone, which is the very news.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "found out by watching")
    )]
    Gone,
    Refused,
}

/// A watch on what has the lock now.
pub(super) struct Renewed {
    pub(super) watch: Option<Watch>,
    /// Whether that is what had it before: then the news was of something else. Of a stranger's lock nothing is
    /// known, and it counts as the same.
    pub(super) is_the_same: bool,
}

impl From<OwnedFd> for Watch {
    fn from(descriptor: OwnedFd) -> Watch {
        Watch { file: None, other: Some(descriptor) }
    }
}

impl Watch {
    /// Watches a lock file and the process that its record names.
    pub(super) fn of_file(path: &Path) -> Option<Watch> {
        Watch::of(kernel::FileWatch::new(path))
    }

    fn of(file: Result<kernel::FileWatch, Unwatched>) -> Option<Watch> {
        match file {
            // The record is read after the file is watched: a record that changes later is news itself.
            Ok(file) => Some(Watch { other: kernel::end_of_owner(file.path()), file: Some(file) }),
            Err(Unwatched::Gone) => Some(Watch { file: None, other: None }),
            Err(Unwatched::Refused) => None,
        }
    }

    /// Watches what has the lock by now. A stranger's watch is asked for again, at `source`.
    pub(super) fn renew(self, source: impl Fn() -> Option<Watch>) -> Renewed {
        match self.file {
            Some(mut file) if file.is_our_own() => {
                drop(self.other);
                let renewed = file.renew();
                let is_the_same = matches!(renewed, Ok(true));
                Renewed { watch: Watch::of(renewed.map(|_| file)), is_the_same }
            }
            file => {
                let is_the_same = file.is_some() || self.other.is_some();
                drop((file, self.other));
                Renewed { watch: source(), is_the_same }
            }
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
        let file = self.file.as_ref().map(kernel::FileWatch::descriptor);
        let other = self.other.as_ref().map(OwnedFd::as_fd);
        match listen {
            Listen::All => file.into_iter().chain(other),
            // Without a file, the other is a stranger's.
            Listen::EndOfOwner => None.into_iter().chain(file.and(other)),
            Listen::Nothing => None.into_iter().chain(None),
        }
    }

    /// Takes the news.
    pub(super) fn news(&self) -> News {
        let has_ended = self.other.as_ref().is_some_and(|end| is_readable(end.as_fd()));
        match &self.file {
            Some(file) if !file.is_our_own() => News::Other,
            Some(_) if has_ended => News::Ended,
            Some(file) => file.news(),
            None => News::Other,
        }
    }
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut poll_fd = [PollFd::new(descriptor, PollFlags::POLLIN)];
    !matches!(poll(&mut poll_fd, PollTimeout::ZERO), Ok(0) | Err(Errno::EINTR))
}
