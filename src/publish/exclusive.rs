//! A file created under its name, which is ours if we are the first to get its kernel lock.
//!
//! A reader can find the file empty for a moment. A crash in that moment leaves an empty file behind, which is
//! stale.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::lstat;

use crate::error::Error;
use crate::guard::{LockGuard, Origin};
use crate::inode;
use crate::publish::{Candidate, create_options};
use crate::record;

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
    let candidate = match locked? {
        Some(candidate) if candidate.stat.st_size == 0 => candidate,
        // Another process had the kernel lock before us, and wrote into the file.
        Some(candidate) => {
            candidate.abandon();
            return Ok(None);
        }
        None => return Ok(None),
    };
    let pid = process::id();
    let filled = candidate.fill(pid, mode);
    let local = inode::is_local(&candidate.file);
    if local {
        record::stamp(&candidate.file, pid);
    }
    // Until we had its kernel lock, the file was stale to everyone else, and another process may have removed
    // it. The proof comes after the record because of gocryptfs, where the name can lead to a second inode at
    // any time, whose kernel lock is free: a process that finds that inode after the proof finds our pid in it.
    match (filled, inode::is_named(&candidate.file, &candidate.stat, path)) {
        (Ok(()), Ok(true)) => Ok(Some(candidate.into_guard(path, pid, local, Origin::Created))),
        (Err(error), Ok(true)) => {
            let _ = inode::remove(path);
            Err(Error::io("write", path)(error))
        }
        (_, named) => {
            let _ = candidate.file.set_len(0);
            candidate.abandon();
            named.map(|_| None).map_err(Error::io("examine", path))
        }
    }
}

/// `None` if the name is taken, whatever error the file system returns for that: sshfs returns EPERM.
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
