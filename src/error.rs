//! What can go wrong, and whether trying again can help.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;

use crate::owner;

/// The action of an [`Error::Io`] that came from flock(2).
pub(crate) const TAKE_KERNEL_LOCK: &str = "take the kernel lock of";

/// Why a lock could not be taken, kept, released or read.
///
/// Every message names the path, and the process and the remedy where they are known. The operating system's
/// own error is the [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another guard, process or program holds the lock. Temporary.
    #[error("{}", busy(&Shown(path), *pid, *kernel_locked))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The recorded owner; `None` if the record holds no valid pid, as when `flock(1)` holds the lock.
        ///
        /// If `kernel_locked` is true, this pid is not checked further. The recorded process may have ended
        /// while a child that it forked still holds the lock; the pid may belong to another pid namespace; or
        /// the lock may be held by a reader, or by another attempt that looks at a stale file.
        /// [`Lockfile::holder`](crate::Lockfile::holder) checks it.
        pid: Option<u32>,
        /// Whether some process holds the kernel lock, which the kernel frees when that process ends. If not,
        /// the only evidence of an owner is the record, which names a running process.
        kernel_locked: bool,
    },

    /// The file came and went each time `try_lock` looked at it. Temporary.
    #[error("{} came and went on every try", Shown(path))]
    NotExist {
        /// The lock file.
        path: PathBuf,
    },

    /// The path is relative, does not end in a file name, or holds a NUL byte.
    #[error("{}", need_abs_path(path))]
    NeedAbsPath {
        /// The path as it was given.
        path: PathBuf,
    },

    /// The record holds no valid pid.
    #[error("{} holds no valid pid", Shown(path))]
    InvalidPid {
        /// The lock file.
        path: PathBuf,
    },

    /// The recorded owner is no longer running.
    #[error("{} names process {pid}, which is dead", Shown(path))]
    DeadOwner {
        /// The lock file.
        path: PathBuf,
        /// The dead process.
        pid: u32,
    },

    /// Another program removed, replaced or overwrote the file while the guard held the lock, or a forked child
    /// has adopted the lock.
    #[error(
        "{} was removed, replaced or overwritten while it was locked, or a forked child has adopted it",
        Shown(path)
    )]
    RogueDeletion {
        /// The lock file.
        path: PathBuf,
    },

    /// This process was forked from the owner of the guard, and has not adopted the lock.
    #[error("{} is locked by process {pid}, and this one must adopt the lock first", Shown(path))]
    NotAdopted {
        /// The lock file.
        path: PathBuf,
        /// The process that the guard belongs to.
        pid: u32,
    },

    /// The path names a directory, a symlink, a fifo, a socket or a device.
    #[error("{} is {found} and not a regular file", Shown(path))]
    NotAFile {
        /// The path of the lock.
        path: PathBuf,
        /// What was found there, with its article: `a directory`.
        found: &'static str,
    },

    /// The content of the file shows that it is no lock file. It stays as it is.
    #[error(
        "{} holds something other than a pid, so it is not taken for a lock file and stays as it is; \
         use another path for the lock, or remove the file",
        Shown(path)
    )]
    NotAPidFile {
        /// The file.
        path: PathBuf,
    },

    /// This user may not open the file. Most likely it is the lock of the user who owns the file. Temporary.
    #[error(
        "{} belongs to uid {uid} and may not be read by this user, so it is most likely locked by that \
         one; if no process of that user needs it, remove it; to share a lock, all its users create it with \
         a mode that lets the others read it",
        Shown(path)
    )]
    Unreadable {
        /// The lock file.
        path: PathBuf,
        /// The user that owns the file.
        uid: u32,
    },

    /// The file is stale, and this user may neither remove nor write it.
    #[error(
        "{} is stale, but belongs to uid {uid}, and this user may neither remove nor write it; remove it \
         as that user, and share the lock in a setgid directory or with a mode that lets others write it",
        Shown(path)
    )]
    Unremovable {
        /// The lock file.
        path: PathBuf,
        /// The user that owns the file.
        uid: u32,
        /// What the operating system said.
        source: io::Error,
    },

    /// This process has closed the file that held the lock, and has so lost the lock.
    #[error(
        "{} is not locked any more: this process closed the file that held the lock, as a daemonizer that \
         closes all descriptors does",
        Shown(path)
    )]
    LostDescriptor {
        /// The lock file.
        path: PathBuf,
    },

    /// The lock is held or honoured, but the system does not show which process holds it.
    #[error("{}", unproven(&Shown(path), *pid, reason))]
    Unproven {
        /// The lock file.
        path: PathBuf,
        /// The recorded process, which is only a hint; `None` if the record holds no valid pid. Do not signal
        /// it: it can be an unrelated process.
        pid: Option<u32>,
        /// What is missing, in words.
        reason: &'static str,
    },

    /// A system call failed.
    #[error("cannot {action} {}{}", Shown(path), remedy(action, source))]
    Io {
        /// What was being done, as a verb: `open`, `create`, …
        action: &'static str,
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A path in a message: newlines and escape sequences in it are escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_string_lossy().chars().try_for_each(|char| {
            if char.is_control() {
                write!(f, "{}", char.escape_default())
            } else {
                f.write_char(char)
            }
        })
    }
}

/// Says no more than is known: the recorded pid is looked up when the text is made, in our own pid namespace.
fn busy(path: &Shown<'_>, pid: Option<u32>, kernel_locked: bool) -> String {
    match pid {
        None => format!(
            "{path} is locked by a process that recorded no pid; `fuser` or `lsof` on the file shows which"
        ),
        Some(pid) if !kernel_locked => format!(
            "{path} names the running process {pid} as its owner, without a kernel lock; \
             if that is not the owner, remove the file or use kernel_lock_only"
        ),
        Some(pid) if pid == process::id() => format!(
            "{path} is locked by this process ({pid}), or by the one with its pid in another container"
        ),
        Some(pid) if owner::is_alive(pid) => format!("{path} is locked by process {pid}"),
        Some(pid) => format!(
            "{path} is locked, but its recorded process {pid} has ended, and a child of it or a reader holds \
             the kernel lock, or it runs in another container; `fuser` or `lsof` on the file shows which"
        ),
    }
}

fn unproven(path: &Shown<'_>, pid: Option<u32>, reason: &str) -> String {
    match pid {
        Some(pid) => format!(
            "{path} names process {pid}, but nothing proves that it holds the lock: {reason}"
        ),
        None => format!("{path} is locked, but nothing proves by which process: {reason}"),
    }
}

fn need_abs_path(path: &Path) -> String {
    let what = if path.as_os_str().as_bytes().contains(&0) {
        "holds a NUL byte"
    } else if path.starts_with("~") {
        "is relative: `~` is for the shell to expand, so pass an absolute path"
    } else if path.is_absolute() {
        "does not end in the name of a file"
    } else {
        "is relative; std::path::absolute makes it absolute"
    };
    format!("`{}` {what}", Shown(path))
}

/// The remedy, which the system's own error does not name.
fn remedy(action: &str, source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENOLCK) if action == TAKE_KERNEL_LOCK => {
            ", whose file system has no flock(2), or no server for it: use another directory"
        }
        _ => "",
    }
}

impl Error {
    /// Whether trying again later can help: true for [`Busy`](Error::Busy), [`NotExist`](Error::NotExist) and
    /// [`Unreadable`](Error::Unreadable), and for [`Io`](Error::Io) where another program holds a lease on
    /// the file (`EWOULDBLOCK`).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.io_kind() == io::ErrorKind::WouldBlock
    }

    /// Whether another process's work on the file is the likely cause, so that the next look can differ: NFS
    /// returns EBUSY for an unlink during another one, open(2) returns EWOULDBLOCK while it breaks a lease,
    /// mergerfs returns ESTALE for a file that was removed between its lookup and its open, and FUSE returns
    /// EINTR.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::Interrupted
                | io::ErrorKind::ResourceBusy
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::StaleNetworkFileHandle
        ))
    }

    /// The nearest kind that `std::io` knows.
    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match self {
            Error::Busy { .. } | Error::NotExist { .. } | Error::Unreadable { .. } => {
                io::ErrorKind::WouldBlock
            }
            Error::NeedAbsPath { .. } | Error::NotAFile { .. } => io::ErrorKind::InvalidInput,
            Error::InvalidPid { .. } | Error::DeadOwner { .. } | Error::NotAPidFile { .. } => {
                io::ErrorKind::InvalidData
            }
            Error::RogueDeletion { .. }
            | Error::NotAdopted { .. }
            | Error::LostDescriptor { .. }
            | Error::Unproven { .. } => io::ErrorKind::Other,
            Error::Unremovable { source, .. } | Error::Io { source, .. } => source.kind(),
        }
    }

    /// Turns an I/O error into ours: `.map_err(Error::io("open", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }
}

/// A temporary error becomes [`WouldBlock`](io::ErrorKind::WouldBlock); [`Error::Io`] keeps its kind.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.io_kind(), error)
    }
}
