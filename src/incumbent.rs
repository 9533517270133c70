//! What is already there: opened safely, and asked for its kernel lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat, lstat};

use crate::error::{Error, TAKE_KERNEL_LOCK};
use crate::inode;
use crate::owner::Content;

/// What one look at a path found.
#[expect(clippy::large_enum_variant, reason = "it stays on the stack, for one turn")]
pub(crate) enum Look {
    /// Nothing.
    Absent,
    /// A file that had lost its name before its kernel lock was asked for.
    Departed,
    /// A file whose kernel lock somebody holds.
    Locked { pid: Option<u32> },
    /// A file whose kernel lock was free, and is ours for as long as the value lives.
    Unlocked(Incumbent),
}

/// A lock file that was there before us, with its kernel lock.
pub(crate) struct Incumbent {
    file: File,
    stat: FileStat,
    content: Content,
    /// Whether we hold its kernel lock.
    locked: bool,
}

/// Looks at `path` and tries the kernel lock of what it finds.
pub(crate) fn look(path: &Path) -> Result<Look, Error> {
    match look_with(path, Access::Read) {
        Err(error) if is_gone(&error) => Ok(Look::Departed),
        looked => looked,
    }
}

/// Whether the file went after it was opened. The open itself says ENOENT where there is no file, and
/// ESTALE where the directory is gone.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { action, source, .. } if *action != "open" && inode::is_gone(source))
}

fn look_with(path: &Path, access: Access) -> Result<Look, Error> {
    let Some(file) = open(path, access)? else {
        return Ok(Look::Absent);
    };
    let locked = inode::try_kernel_lock(&file);
    let stat = examine(&file, path)?;
    match locked {
        // Another waiter may be probing a file that its owner has just removed. That lock says nothing
        // about the path, and would make us report an owner where there is none. The count is read after
        // the lock was refused, or it would prove nothing. To compare the path's inode would also cover a
        // file with a second name, at the price of a system call in every refused attempt; as it is, a
        // waiter can be told `Busy` once too often there (tests/model/limits.rs).
        Ok(_) if stat.st_nlink == 0 => Ok(Look::Departed),
        Ok(true) => {
            let content = read(&file, path).inspect_err(|_| drop(file.unlock()))?;
            Ok(Look::Unlocked(Incumbent { file, stat, content, locked: true }))
        }
        Ok(false) => match read(&file, path) {
            Err(error) if is_gone(&error) => Ok(Look::Departed),
            // cifs does not let others read what is locked.
            content => Ok(Look::Locked { pid: content.ok().and_then(|content| content.pid()) }),
        },
        Err(error) if access == Access::Read && wants_a_writable_file(&error) => {
            LOOKS_WRITE.store(true, Ordering::Relaxed);
            look_with(path, Access::ReadWrite)
        }
        Err(error) => Err(Error::io(TAKE_KERNEL_LOCK, path)(error)),
    }
}

/// Whether a look of this process ever had to open a file for writing.
static LOOKS_WRITE: AtomicBool = AtomicBool::new(false);

/// Whether looking raises `IN_CLOSE_WRITE`, so that those who wait must not wake on it.
#[cfg(all(feature = "retry", any(target_os = "linux", target_os = "android")))]
pub(crate) fn looks_write() -> bool {
    LOOKS_WRITE.load(Ordering::Relaxed)
}

/// The pid recorded in the file at `path`; no lock is asked for. `None` if there is no file.
pub(crate) fn recorded_pid(path: &Path) -> Result<Option<u32>, Error> {
    let Some(file) = open(path, Access::Read)? else {
        return Ok(None);
    };
    match examine(&file, path).and_then(|_| read(&file, path)) {
        Ok(content) => match content.pid() {
            Some(pid) => Ok(Some(pid)),
            None => Err(Error::InvalidPid { path: path.to_owned() }),
        },
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Access {
    Read,
    ReadWrite,
}

/// flock(2), NFS details: an exclusive lock there needs a file that is open for writing.
fn wants_a_writable_file(error: &io::Error) -> bool {
    [Errno::EBADF, Errno::EIO].iter().any(|&errno| error.raw_os_error() == Some(errno as i32))
}

/// Opens what is there without following, blocking on or becoming attached to it.
///
/// Read-only: closing a writable file raises `IN_CLOSE_WRITE`, and those who watch a lock file to see
/// its owner go would wake each other without end.
fn open(path: &Path, access: Access) -> Result<Option<File>, Error> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = OpenOptions::new()
        .read(true)
        .write(access == Access::ReadWrite)
        .custom_flags(flags.bits())
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            // A symlink says ELOOP, EMLINK or EFTYPE, by system; a socket ENXIO or EOPNOTSUPP.
            if let Ok(stat) = lstat(path) {
                check_regular(path, &stat)?;
            }
            Err(Error::io("open", path)(error))
        }
    }
}

/// What the file is, once it is known to be a regular one.
fn examine(file: &File, path: &Path) -> Result<FileStat, Error> {
    let stat = fstat(file).map_err(|errno| Error::io("examine", path)(errno.into()))?;
    check_regular(path, &stat)?;
    Ok(stat)
}

fn check_regular(path: &Path, stat: &FileStat) -> Result<(), Error> {
    let found = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => return Ok(()),
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFIFO => "a fifo",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    };
    Err(Error::NotAFile { path: path.to_owned(), found })
}

fn read(file: &File, path: &Path) -> Result<Content, Error> {
    Content::of(file).map_err(Error::io("read", path))
}

impl Incumbent {
    /// The pid in its record, if it is a valid one.
    pub(crate) fn recorded_pid(&self) -> Option<u32> {
        self.content.pid()
    }

    /// Removes its name; `false` if the path names another file by now.
    ///
    /// The proof and its place are what mutual exclusion rests on: only the process that holds the kernel
    /// lock on a file may unlink it. We hold the lock, so once the path is known to name this file, no
    /// process of ours takes the name away but us.
    pub(crate) fn remove(mut self, path: &Path) -> Result<bool, Error> {
        if !inode::is_named(&self.file, &self.stat, path).map_err(Error::io("examine", path))? {
            return Ok(false);
        }
        inode::remove(path).map_err(Error::io("remove the stale", path))?;
        // Nobody can reach the file any more.
        self.locked = false;
        Ok(true)
    }
}

impl Drop for Incumbent {
    fn drop(&mut self) {
        if self.locked {
            // By hand, before the file is closed: a child that another thread forks just now has a copy,
            // and would keep the lock of a file that is none of its business.
            let _ = self.file.unlock();
        }
    }
}
