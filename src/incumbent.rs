//! What is already there: opened safely, and asked for its kernel lock.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::error::Error;
use crate::inode::{self, Inode};
use crate::owner;

/// What one look at a path found.
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

/// A lock file that was there before us.
pub(crate) struct Incumbent {
    file: File,
    /// Whether we hold its kernel lock.
    locked: bool,
}

/// Looks at `path` and tries the kernel lock of what it finds.
pub(crate) fn look(path: &Path) -> Result<Look, Error> {
    match look_with(path, Access::Read) {
        Err(error) if is_stale_handle(&error) => Ok(Look::Departed),
        looked => looked,
    }
}

/// NFS says ESTALE of a file that another machine has removed since it was opened. Said of the open
/// itself, it is the directory that is gone.
fn is_stale_handle(error: &Error) -> bool {
    matches!(error, Error::Io { action, source, .. }
        if *action != "open" && source.raw_os_error() == Some(Errno::ESTALE as i32))
}

fn look_with(path: &Path, access: Access) -> Result<Look, Error> {
    let Some(file) = open(path, access)? else {
        return Ok(Look::Absent);
    };
    let locked = inode::try_kernel_lock(&file);
    let incumbent = Incumbent { locked: matches!(locked, Ok(true)), file };
    let metadata = incumbent.metadata(path)?;
    match locked {
        Ok(true) => Ok(Look::Unlocked(incumbent)),
        // Another waiter may be probing a file that its owner has just removed. That lock says nothing
        // about the path, and would make us report an owner where there is none. The count is read after
        // the lock was refused, or it would prove nothing. To compare the path's inode would also cover a
        // file with a second name, at the price of a system call in every refused attempt; as it is, a
        // waiter can be told `Busy` once too often there (tests/model/limits.rs).
        Ok(false) if metadata.nlink() == 0 => Ok(Look::Departed),
        Ok(false) => Ok(Look::Locked { pid: owner::recorded_pid(&incumbent.file).unwrap_or(None) }),
        Err(error) if access == Access::Read && wants_a_writable_file(&error) => {
            LOOKS_WRITE.store(true, Ordering::Relaxed);
            look_with(path, Access::ReadWrite)
        }
        Err(error) => Err(Error::io("take the kernel lock of", path)(error)),
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
    let incumbent = Incumbent { file, locked: false };
    incumbent.metadata(path)?;
    match incumbent.recorded_pid(path)? {
        Some(pid) => Ok(Some(pid)),
        None => Err(Error::InvalidPid { path: path.to_owned() }),
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
            if let Ok(metadata) = fs::symlink_metadata(path) {
                check_regular(path, &metadata)?;
            }
            Err(Error::io("open", path)(error))
        }
    }
}

fn check_regular(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    if metadata.is_file() { Ok(()) } else { Err(Error::NotAFile { path: path.to_owned() }) }
}

impl Incumbent {
    /// Its metadata, once it is known to be a regular file.
    fn metadata(&self, path: &Path) -> Result<Metadata, Error> {
        let metadata = self.file.metadata().map_err(Error::io("examine", path))?;
        check_regular(path, &metadata)?;
        Ok(metadata)
    }

    /// The pid in its record, if it is a valid one.
    pub(crate) fn recorded_pid(&self, path: &Path) -> Result<Option<u32>, Error> {
        owner::recorded_pid(&self.file).map_err(Error::io("read", path))
    }

    /// Removes its name, unless the path names another file by now.
    ///
    /// The check and its place are what mutual exclusion rests on: only the holder of the kernel lock
    /// on the inode that the path names may remove the name. We hold the lock, so once the path names
    /// this inode, nobody but us may take the name away.
    pub(crate) fn remove(self, path: &Path) -> Result<(), Error> {
        let inode = Inode::of(&self.metadata(path)?);
        if !inode.is_named_by(path).map_err(Error::io("examine", path))? {
            return Ok(());
        }
        inode::remove(path).map_err(Error::io("remove the stale", path))?;
        Ok(())
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
