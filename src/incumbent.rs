//! What is already there: opened safely, and asked for its kernel lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat, lstat};
use nix::unistd::geteuid;

use crate::error::{Error, TAKE_KERNEL_LOCK};
use crate::guard::LockGuard;
use crate::inode::{self, Inode};
use crate::record::{self, Content};

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
pub(crate) fn look(path: &Path, access: Access) -> Result<Look, Error> {
    match look_with(path, access) {
        Err(error) if is_gone(&error) => Ok(Look::Departed),
        looked => looked,
    }
}

/// Whether the file went after it was opened. The open itself says ENOENT where there is no file, and
/// ESTALE where the directory is gone.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { action, source, .. } if *action != "open" && inode::is_gone(source))
}

fn look_with(path: &Path, access: Access) -> Result<Look, Error> {
    let Some(file) = open(path, access)? else {
        return Ok(Look::Absent);
    };
    let locked = inode::try_kernel_lock(&file);
    let stat = examine(&file, path).inspect_err(|_| drop(file.unlock()))?;
    match locked {
        // Another waiter may be probing a file that its owner has just removed. That lock says nothing
        // about the path, and would make us report an owner where there is none. The count is read after
        // the lock was refused, or it would prove nothing. To compare the path's inode would also cover a
        // file with a second name, at the price of a system call in every refused attempt; as it is, a
        // waiter can be told `Busy` once too often there (tests/model/limits.rs).
        Ok(_) if stat.st_nlink == 0 => Ok(Look::Departed),
        Ok(true) => match read(&file, path) {
            Ok(content) => Ok(Look::Unlocked(Incumbent { file, stat, content, locked: true })),
            Err(error) => {
                let _ = file.unlock();
                // cifs with `nobrl` keeps its kernel locks to itself, and its server refuses the read.
                let refused = error.io_kind() == io::ErrorKind::PermissionDenied;
                if refused { Ok(Look::Locked { pid: None }) } else { Err(error) }
            }
        },
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
    match glance(path) {
        Ok(None) => Ok(None),
        Ok(Some(file)) => match file.recorded_pid() {
            Some(pid) => Ok(Some(pid)),
            None => Err(Error::InvalidPid { path: path.to_owned() }),
        },
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file at `path`, and no lock of it is asked for. `None` if there is none.
pub(crate) fn glance(path: &Path) -> Result<Option<Incumbent>, Error> {
    let Some(file) = open(path, Access::Read)? else {
        return Ok(None);
    };
    let stat = examine(&file, path)?;
    let content = read(&file, path)?;
    Ok(Some(Incumbent { file, stat, content, locked: false }))
}

/// How a file is opened for a look.
///
/// Closing a writable file raises `IN_CLOSE_WRITE`, and those who watch a lock file to see its owner go would
/// wake each other without end. So it is opened for writing only where nothing else helps.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// flock(2), NFS details: an exclusive lock there needs a file that is open for writing.
fn wants_a_writable_file(error: &io::Error) -> bool {
    [Errno::EBADF, Errno::EIO].iter().any(|&errno| error.raw_os_error() == Some(errno as i32))
}

/// Opens what is there without following, blocking on or becoming attached to it.
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
                if error.raw_os_error() == Some(Errno::EACCES as i32)
                    && stat.st_uid != geteuid().as_raw()
                {
                    return Err(Error::Unreadable { path: path.to_owned(), uid: stat.st_uid });
                }
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
    /// Any other file is somebody's data, under a path that was meant for something else.
    pub(crate) fn check_can_be_a_lock_file(&self, path: &Path) -> Result<(), Error> {
        match self.content.can_be_a_lock_files(&self.file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotAPidFile { path: path.to_owned() }),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// The pid in its record, if it is a valid one.
    pub(crate) fn recorded_pid(&self) -> Option<u32> {
        self.content.pid()
    }

    /// Whether a process of ours made this file and had `pid` then. It is gone: its kernel lock is free.
    ///
    /// Only on a local file system, where no mount and no machine has a kernel lock of its own.
    pub(crate) fn is_leftover_of(&self, pid: u32) -> bool {
        record::is_stamped(&self.stat, pid) && inode::is_local(&self.file)
    }

    /// Removes its name; `false` if the path names another file by now.
    ///
    /// The proof and its place are what mutual exclusion rests on: only the process that holds the kernel
    /// lock on a file may unlink it. We hold the lock, so once the path is known to name this file, no
    /// process of ours takes the name away but us.
    pub(crate) fn remove(mut self, path: &Path) -> Result<bool, Error> {
        if !self.is_named(path)? {
            return Ok(false);
        }
        match inode::remove(path) {
            Ok(_) => {}
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                let (path, uid) = (path.to_owned(), self.stat.st_uid);
                return Err(Error::Unremovable { path, uid, source });
            }
            Err(error) => return Err(Error::io("remove the stale", path)(error)),
        }
        // Without another name, nobody can reach the file any more.
        self.locked = self.stat.st_nlink > 1;
        Ok(true)
    }

    /// Makes a stale file that may not be removed ours as it is; `None` if the path names another by now.
    ///
    /// It is the one file that we write to and have not created. A second name would make it somebody's data
    /// that was planted here, and is `refused`.
    pub(crate) fn take_over(
        mut self,
        path: &Arc<Path>,
        refused: Error,
    ) -> Result<Option<LockGuard>, Error> {
        if self.stat.st_nlink != 1 {
            return Err(refused);
        }
        if !self.is_named(path)? {
            return Ok(None);
        }
        let file = self.file.try_clone().map_err(Error::io("open", path))?;
        let inode = Inode::of(&self.stat);
        let guard = LockGuard::take_over(Arc::clone(path), file, inode)?;
        self.locked = false;
        Ok(Some(guard))
    }

    /// Whether another open file has its kernel lock. Nothing of ours stays locked.
    pub(crate) fn is_locked_by_another(&self, path: &Path) -> Result<bool, Error> {
        inode::is_kernel_locked(&self.file).map_err(Error::io(TAKE_KERNEL_LOCK, path))
    }

    /// Whether the path still names this file, and it still records the same.
    pub(crate) fn is_as_before(&self, path: &Path) -> Result<bool, Error> {
        let stat = examine(&self.file, path)?;
        let named = inode::is_named(&self.file, &stat, path).map_err(Error::io("examine", path))?;
        Ok(named && read(&self.file, path)?.pid() == self.content.pid())
    }

    /// The open file, which is for looking at only.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the path still names this file, and as it was when it was read: a program that knows pid files
    /// only may have written into it since.
    fn is_named(&self, path: &Path) -> Result<bool, Error> {
        let found =
            inode::find(&self.file, &self.stat, path).map_err(Error::io("examine", path))?;
        let version = |stat: &FileStat| (stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
        Ok(found.is_some_and(|found| version(&found) == version(&self.stat)))
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
