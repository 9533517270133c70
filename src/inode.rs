//! An open file's inode: which one it is, its name, and its kernel lock.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What tells one inode from another for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    dev: u64,
    ino: u64,
}

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Inode {
        Inode { dev: metadata.dev(), ino: metadata.ino() }
    }

    /// Whether `path` names this inode now.
    pub(crate) fn is_named_by(self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Inode::of(&metadata) == self),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Removes the name `path`; `false` if it was gone already.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    loop {
        match fs::remove_file(path) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // unlink(2) is not interrupted, but NFS and FUSE can be.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes the kernel lock of `file`, an exclusive flock(2), if that needs no waiting.
///
/// `std` and not `nix::fcntl::Flock`: that one unlocks on Drop, and a forked child's Drop would free
/// the parent's lock, because the two share one open file description.
pub(crate) fn try_kernel_lock(file: &File) -> io::Result<bool> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
