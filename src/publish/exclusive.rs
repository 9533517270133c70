//! A file created under its name, which is then ours if we are the first to have its kernel lock.
//!
//! For a moment a reader finds the file empty. A crash in that moment leaves an empty file behind, which
//! is stale.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::lstat;

use crate::error::Error;
use crate::guard::LockGuard;
use crate::inode;
use crate::publish::{Candidate, create_options};

pub(super) fn publish(path: &Arc<Path>, mode: u32) -> Result<Option<LockGuard>, Error> {
    let Some(file) = create(path, mode)? else {
        return Ok(None);
    };
    let locked = Candidate::lock(file, path).inspect_err(|error| {
        // Without flock(2) nobody owns anything here, and the empty file is ours or stale.
        if error.io_kind() == io::ErrorKind::Unsupported && is_empty(path) {
            let _ = inode::remove(path);
        }
    });
    let Some(mut candidate) = locked? else {
        return Ok(None);
    };
    // Before we had its kernel lock, the file was stale to all others, and one of them may have removed it.
    let named = inode::is_named(&candidate.file, &candidate.stat, path);
    if !named.map_err(Error::io("examine", path))? {
        return Ok(None);
    }
    let pid = process::id();
    if let Err(error) = candidate.fill(pid, mode) {
        let _ = inode::remove(path);
        return Err(Error::io("write", path)(error));
    }
    Ok(Some(candidate.into_guard(path, pid)))
}

/// `None` if the name is taken, whatever the file system calls that: sshfs says EPERM.
fn create(path: &Path, mode: u32) -> Result<Option<File>, Error> {
    let mut options = create_options(mode);
    match options.create_new(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists || lstat(path).is_ok() => {
            Ok(None)
        }
        Err(error) => Err(Error::io("create", path)(error)),
    }
}

fn is_empty(path: &Path) -> bool {
    lstat(path).is_ok_and(|stat| stat.st_size == 0)
}
