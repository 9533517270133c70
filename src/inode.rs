//! An open file's inode: its identity, its name, its kernel lock, and whether its file system is local.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{FileStat, Mode, fstatat, lstat};

/// Identifies an inode as long as it is open, on a local file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: dev_t,
    number: ino_t,
}

impl Inode {
    pub(crate) fn of(stat: &FileStat) -> Inode {
        Inode { device: stat.st_dev, number: stat.st_ino }
    }

    /// Whether `path` now names an inode with these numbers.
    pub(crate) fn is_named_by(self, path: &Path) -> io::Result<bool> {
        match uninterrupted(|| lstat(path)) {
            Ok(stat) => Ok(Inode::of(&stat) == self),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Whether `path` still names `file`. We hold its kernel lock and have read `stat` since then.
///
/// A process needs this proof before it removes the name, and before it calls itself the owner of a file that
/// had its name before its kernel lock. On a local file system the numbers are proof enough. Elsewhere:
///
/// - A FUSE server reuses an inode number while the removed file is still open. So ask the kernel for its own
///   name of our open file: `NAME (deleted)`, or the name that NFS gives to an open file that is removed
///   (`.nfsXXXX`), whose link count stays 1.
/// - The kernel does not know of a removal by another client or through another mount. So open the directory
///   and look the name up again.
pub(crate) fn is_named(file: &File, stat: &FileStat, path: &Path) -> io::Result<bool> {
    Ok(find(file, stat, path)?.is_some())
}

/// The stat of what the path names, if that is proven to be `file`.
pub(crate) fn find(file: &File, stat: &FileStat, path: &Path) -> io::Result<Option<FileStat>> {
    let found = match stat.st_nlink {
        0 => return Ok(None),
        _ if is_local(file) => uninterrupted(|| lstat(path)),
        _ if !has_name(file, path) => return Ok(None),
        _ => uninterrupted(|| look_up_afresh(path)),
    };
    match found {
        Ok(found) => Ok((Inode::of(&found) == Inode::of(stat)).then_some(found)),
        Err(errno) if is_gone(&errno.into()) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The stat of what `path` names now, not from a network client's cache: NFS asks its server when a directory
/// is opened.
pub(crate) fn look_up_afresh(path: &Path) -> nix::Result<FileStat> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match open(directory_of(path), flags, Mode::empty()) {
        Ok(directory) => {
            let name = path.file_name().unwrap_or_default();
            fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        }
        // The directory may be searched but not listed.
        Err(Errno::EACCES) => lstat(path),
        Err(errno) => Err(errno),
    }
}

/// Repeats a call that was interrupted, as calls on FUSE and NFS can be.
pub(crate) fn uninterrupted<T>(call: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().expect("an absolute path with a file name has a parent")
}

/// Whether a call failed because its file is gone. 9p and sshfs return ENOENT for an open file that was
/// removed, NFS returns ESTALE for one that another machine removed.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    [Errno::ENOENT, Errno::ESTALE].iter().any(|&errno| error.raw_os_error() == Some(errno as i32))
}

/// Removes the name `path`; `false` if it was gone already.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    loop {
        match fs::remove_file(path) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // unlink(2) is interrupted only on NFS and FUSE.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes the kernel lock of `file`, an exclusive flock(2), if that needs no waiting.
///
/// `std` and not `nix::fcntl::Flock`, which unlocks on Drop: in a forked child that would free the parent's
/// lock, because both share one open file description.
pub(crate) fn try_kernel_lock(file: &File) -> io::Result<bool> {
    until_not_interrupted(|| file.try_lock())
}

/// Whether another open file has the kernel lock.
///
/// Only a refused lock shows that. So ask for a shared one and give it back at once: any number of processes
/// can ask at a time, and a reader's shared lock does not count.
pub(crate) fn is_kernel_locked(file: &File) -> io::Result<bool> {
    let free = until_not_interrupted(|| file.try_lock_shared())?;
    if free {
        // Explicitly: a child that another thread is just forking has a copy of the descriptor, and would keep
        // the lock.
        file.unlock()?;
    }
    Ok(!free)
}

fn until_not_interrupted(lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<bool> {
    loop {
        match lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                // cifs turns flock(2) into a lock at its server, and returns EACCES.
                io::ErrorKind::PermissionDenied => return Ok(false),
                _ => return Err(error),
            },
        }
    }
}

/// Whether the kernel's own name for an open file is the last component of `path`. Case is ignored, because
/// some file systems ignore it.
fn has_name(file: &File, path: &Path) -> bool {
    let Ok(link) = fs::read_link(proc_link(file)) else {
        return true; // Without /proc, the inode numbers must do.
    };
    let lowercase =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    lowercase(&link) == lowercase(path)
}

/// The link in /proc to an open file.
///
/// `thread-self` and not `self`, which shows the descriptors of the process's first thread: a thread that has
/// called unshare(2) with `CLONE_FILES` has its own.
pub(crate) fn proc_link(file: &File) -> String {
    format!("/proc/thread-self/fd/{}", file.as_raw_fd())
}

/// Whether `file` is on a file system that is known to be local: an inode keeps its number there while it is
/// open, and all processes that can reach it share its kernel lock.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_local(file: &File) -> bool {
    // statfs(2): ext2 to ext4, xfs, btrfs, f2fs; tmpfs, ramfs; overlay; zfs, bcachefs.
    const DISKS: [u32; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];
    const OTHERS: [u32; 5] = [0x0102_1994, 0x8584_58F6, 0x794C_7630, 0x2FC1_2FC1, 0xCA45_1A4E];
    #[expect(clippy::cast_possible_truncation, reason = "it has 32 bits, in a type of any width")]
    #[expect(clippy::cast_sign_loss, reason = "and, on some platforms, a sign")]
    nix::sys::statfs::fstatfs(file)
        .map(|stat| stat.filesystem_type().0 as u32)
        .is_ok_and(|number| DISKS.contains(&number) || OTHERS.contains(&number))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_local(_file: &File) -> bool {
    false
}
