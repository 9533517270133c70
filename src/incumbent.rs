//! The file that is already there: opened safely, and its kernel lock tried.

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
    /// There is no file.
    Absent,
    /// A file that has lost its name.
    Departed,
    /// A file whose kernel lock another open file holds.
    Locked { pid: Option<u32> },
    /// A file whose kernel lock was free. We hold it as long as this value lives.
    Unlocked(Incumbent),
}

/// A lock file that was there before us.
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

/// Whether the file was removed after it was opened. An error of the open itself means something else: ENOENT
/// that there is no file, ESTALE that the directory is gone.
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
        // Another waiter may hold the kernel lock of a file that its owner has just removed. That lock says
        // nothing about the path, and `Busy` would name an owner where there is none. The count proves
        // something only because it is read after the lock was refused. Comparing the path's inode would also
        // cover a file with a second name, but would cost a system call in every refused attempt; without it, a
        // waiter can get a false `Busy` there (tests/model/limits.rs).
        Ok(_) if stat.st_nlink == 0 => Ok(Look::Departed),
        Ok(true) => match read(&file, path) {
            Ok(content) => Ok(Look::Unlocked(Incumbent { file, stat, content, locked: true })),
            Err(error) => {
                let _ = file.unlock();
                // cifs with `nobrl` does not tell its server of our kernel lock, and the server refuses the
                // read.
                let refused = error.io_kind() == io::ErrorKind::PermissionDenied;
                if refused { Ok(Look::Locked { pid: None }) } else { Err(error) }
            }
        },
        Ok(false) => match read(&file, path) {
            Err(error) if is_gone(&error) => Ok(Look::Departed),
            // cifs does not let others read a locked file.
            content => Ok(Look::Locked { pid: content.ok().and_then(|content| content.pid()) }),
        },
        Err(error) if access == Access::Read && wants_a_writable_file(&error) => {
            LOOKS_WRITE.store(true, Ordering::Relaxed);
            look_with(path, Access::ReadWrite)
        }
        Err(error) => Err(Error::io(TAKE_KERNEL_LOCK, path)(error)),
    }
}

/// Whether a look of this process has ever had to open a file for writing.
static LOOKS_WRITE: AtomicBool = AtomicBool::new(false);

/// Whether looking raises `IN_CLOSE_WRITE`, so that waiters must not wake up on it.
#[cfg(all(feature = "retry", any(target_os = "linux", target_os = "android")))]
pub(crate) fn looks_write() -> bool {
    LOOKS_WRITE.load(Ordering::Relaxed)
}

/// The pid recorded in the file at `path`, read without trying its kernel lock. `None` if there is no file.
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

/// The file at `path`, without trying its kernel lock. `None` if there is no file.
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
/// Closing a writable file raises `IN_CLOSE_WRITE`, which waiters watch for: if every look raised it, they
/// would wake each other without end. So a look opens the file for writing only where nothing else works.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// On NFS an exclusive lock needs a file that is open for writing: flock(2), "NFS details".
fn wants_a_writable_file(error: &io::Error) -> bool {
    [Errno::EBADF, Errno::EIO].iter().any(|&errno| error.raw_os_error() == Some(errno as i32))
}

/// Opens the file. It does not follow a symlink, does not block, and makes no terminal the controlling one.
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
            // The errno for a symlink is ELOOP, EMLINK or EFTYPE, by system; for a socket ENXIO or EOPNOTSUPP.
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

/// The stat of the file, if it is a regular one.
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
    /// A file that can't be one is somebody's data, under a mistyped path.
    pub(crate) fn check_can_be_a_lock_file(&self, path: &Path) -> Result<(), Error> {
        match self.content.can_be_a_lock_files(&self.file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotAPidFile { path: path.to_owned() }),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// The pid in its record, if that is valid.
    pub(crate) fn recorded_pid(&self) -> Option<u32> {
        self.content.pid()
    }

    /// Whether a process of ours made this file and had `pid` then. That process has ended or let go of the
    /// file, since the kernel lock is free.
    ///
    /// Only on a local file system, where all mounts and processes share one kernel lock.
    pub(crate) fn is_leftover_of(&self, pid: u32) -> bool {
        record::is_stamped(&self.stat, pid) && inode::is_local(&self.file)
    }

    /// Removes its name; `false` if the path now names another file.
    ///
    /// Mutual exclusion rests on this proof: only the process that holds the kernel lock on a file may unlink
    /// it. We hold the lock, so once the path is known to name this file, no other process of ours removes the
    /// name.
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
        // Without another name, no other process can open the file any more.
        self.locked = self.stat.st_nlink > 1;
        Ok(true)
    }

    /// Takes over a stale file that may not be removed, in place; `None` if the path now names another file.
    ///
    /// This is the only case in which we write to a file that we did not create. If it has a second name, it
    /// may be somebody's data that was linked here, and the takeover is `refused`.
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

    /// Whether another open file has its kernel lock. We do not keep the lock.
    pub(crate) fn is_locked_by_another(&self, path: &Path) -> Result<bool, Error> {
        inode::is_kernel_locked(&self.file).map_err(Error::io(TAKE_KERNEL_LOCK, path))
    }

    /// Whether the path still names this file, and the record is unchanged.
    pub(crate) fn is_as_before(&self, path: &Path) -> Result<bool, Error> {
        let stat = examine(&self.file, path)?;
        let named = inode::is_named(&self.file, &stat, path).map_err(Error::io("examine", path))?;
        Ok(named && read(&self.file, path)?.pid() == self.content.pid())
    }

    /// The open file, for looking at only.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the path still names this file, and nobody has written into it since it was read. A program that
    /// knows only pid files may have done so.
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
            // Explicitly, before the file is closed: a child that another thread is just forking has a copy of
            // the descriptor, and would keep the lock.
            let _ = self.file.unlock();
        }
    }
}
