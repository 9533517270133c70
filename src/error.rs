//! What can go wrong, and whether it goes away by itself.

use std::io;
use std::path::{Path, PathBuf};

/// Why a lock could not be taken, kept, released or read.
///
/// Every text names the path, and the process and the remedy where there is one. The operating
/// system's own words are in [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody owns the lock. Temporary.
    #[error("{}", busy(path, *pid, *kernel_locked))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The recorded owner; `None` if the record holds no valid pid, as when `flock(1)` holds the lock.
        ///
        /// With a kernel lock this is what the record says and not checked further: a killed owner's
        /// forked child can hold on to the lock, and the dead owner is then named.
        pid: Option<u32>,
        /// Whether the lock is held in the kernel, and so ends with its process at the latest. If not,
        /// all that speaks for the owner is the record, which names a running process.
        kernel_locked: bool,
    },

    /// The file came and went each time `try_lock` looked at it. Temporary.
    #[error("{} came and went on every try", path.display())]
    NotExist {
        /// The lock file.
        path: PathBuf,
    },

    /// The path is relative, does not end in a file name, or holds a NUL byte.
    #[error("{path:?} is not an absolute path to a file")]
    NeedAbsPath {
        /// The path as it was given.
        path: PathBuf,
    },

    /// The record holds no valid pid.
    #[error("{} holds no valid pid", path.display())]
    InvalidPid {
        /// The lock file.
        path: PathBuf,
    },

    /// The recorded owner does not run any more.
    #[error("{} names process {pid}, which is dead", path.display())]
    DeadOwner {
        /// The lock file.
        path: PathBuf,
        /// The dead process.
        pid: u32,
    },

    /// Another program removed, replaced or overwrote the lock file while the guard held the lock.
    #[error("{} was removed, replaced or overwritten while it was locked", path.display())]
    RogueDeletion {
        /// The lock file.
        path: PathBuf,
    },

    /// The guard belongs to the process that this one was forked from.
    #[error("{} is locked by process {pid}, and this one must adopt the lock first", path.display())]
    NotAdopted {
        /// The lock file.
        path: PathBuf,
        /// The process that the guard belongs to.
        pid: u32,
    },

    /// The path names a directory, a symlink, a fifo, a socket or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was found in the lock file's place.
        path: PathBuf,
    },

    /// The operating system refused a step.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, as a verb: `open`, `create`, …
        action: &'static str,
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn busy(path: &Path, pid: Option<u32>, kernel_locked: bool) -> String {
    let path = path.display();
    match pid {
        Some(pid) if kernel_locked => format!("{path} is locked by process {pid}"),
        Some(pid) => format!(
            "{path} names the running process {pid} as its owner, without a kernel lock; \
             if that is not the owner, remove the file or use kernel_lock_only"
        ),
        None => format!("{path} is locked by a process that recorded no pid; lslocks(8) finds it"),
    }
}

impl Error {
    /// Whether trying again later can help: true for [`Busy`](Error::Busy) and
    /// [`NotExist`](Error::NotExist).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Busy { .. } | Error::NotExist { .. } => true,
            Error::NeedAbsPath { .. }
            | Error::InvalidPid { .. }
            | Error::DeadOwner { .. }
            | Error::RogueDeletion { .. }
            | Error::NotAdopted { .. }
            | Error::NotAFile { .. }
            | Error::Io { .. } => false,
        }
    }

    /// The nearest thing that `std::io` has a word for.
    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match self {
            Error::Busy { .. } | Error::NotExist { .. } => io::ErrorKind::WouldBlock,
            Error::NeedAbsPath { .. } | Error::NotAFile { .. } => io::ErrorKind::InvalidInput,
            Error::InvalidPid { .. } | Error::DeadOwner { .. } => io::ErrorKind::InvalidData,
            Error::RogueDeletion { .. } | Error::NotAdopted { .. } => io::ErrorKind::Other,
            Error::Io { source, .. } => source.kind(),
        }
    }

    /// Turns an I/O error into ours: `.map_err(Error::io("open", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }
}

/// Temporary errors become [`WouldBlock`](io::ErrorKind::WouldBlock), [`Error::Io`] keeps its kind.
/// The `Error` itself is inside: [`io::Error::get_ref`].
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.io_kind(), error)
    }
}
