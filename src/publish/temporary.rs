//! The fallback: a named temporary, then a rename that replaces nothing.
//!
//! A crash in between leaves the temporary behind; whoever publishes this way in the same directory
//! next removes it. The rule is that of the lock file: only the holder of the kernel lock on the inode
//! that the temporary name names may remove or rename it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempPath;

use crate::error::Error;
use crate::guard::LockGuard;
use crate::incumbent::{self, Look};
use crate::publish::{Candidate, create_options, directory_of};

/// Short, so that the name fits however long the lock file's own is.
const PREFIX: &str = ".pidlockfile-";
const RANDOM_LEN: usize = 8;

pub(super) fn publish(path: &Arc<Path>, mode: u32) -> Result<Option<LockGuard>, Error> {
    let directory = directory_of(path);
    remove_leftovers(directory);
    let (file, name) = tempfile::Builder::new()
        .prefix(PREFIX)
        .rand_bytes(RANDOM_LEN)
        .make_in(directory, |name| create_options(mode).create_new(true).open(name))
        .map_err(Error::io("create", path))?
        .into_parts();
    let Some(candidate) = Candidate::prepare(file, path, mode)? else {
        return Ok(give_up(name));
    };
    // Before we had its lock, the file was a leftover in anybody's eyes, and may be gone.
    if !candidate.inode.is_named_by(&name).map_err(Error::io("examine", path))? {
        return Ok(give_up(name));
    }
    match name.persist_noclobber(path) {
        Ok(()) => candidate.settle(path, Ok(())),
        Err(refused) if refused.error.kind() == io::ErrorKind::NotFound => {
            Ok(give_up(refused.path))
        }
        Err(refused) => candidate.settle(path, Err(refused.error)),
    }
}

/// Leaves the name to whoever has it by now; its Drop would remove it.
fn give_up(name: TempPath) -> Option<LockGuard> {
    let _ = name.keep();
    None
}

/// Removes the temporaries of crashed processes: those whose kernel lock is free.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        let path = entry.path();
        if let Ok(Look::Unlocked(leftover)) = incumbent::look(&path) {
            let _ = leftover.remove(&path);
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().strip_prefix(PREFIX.as_bytes()).is_some_and(|random| {
        random.len() == RANDOM_LEN && random.iter().all(u8::is_ascii_alphanumeric)
    })
}
