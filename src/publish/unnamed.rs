//! A file without a name, which a crash leaves no trace of: `O_TMPFILE`, then linkat(2).
//!
//! No reader and no peer ever sees the name without a whole record and its kernel lock.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::libc::major;
use nix::unistd::linkat;

use crate::error::Error;
use crate::guard::{LockGuard, Origin};
use crate::inode::{Inode, directory_of, is_local, proc_link};
use crate::publish::{Candidate, create_options};
use crate::record;

/// What publishing this way came to.
pub(super) enum Unnamed {
    Owned(LockGuard),
    /// Another file has the name.
    Taken,
    /// It cannot be done here, or not safely.
    Unsupported,
}

pub(super) fn publish(path: &Arc<Path>, mode: u32) -> Result<Unnamed, Error> {
    let mut options = create_options(mode);
    // Whatever else than a missing `O_TMPFILE` is in the way, the exclusive creation meets it, too.
    let Ok(file) = options.custom_flags(OFlag::O_TMPFILE.bits()).open(directory_of(path)) else {
        return Ok(Unnamed::Unsupported);
    };
    let Some(candidate) = Candidate::lock(file, path)? else {
        return Ok(Unnamed::Taken);
    };
    // Where a FUSE server has `O_TMPFILE`, the name that it links can be another inode to the kernel than
    // the one whose lock we hold. A device number of its own is a disk's: that needs no further question,
    // since what FUSE mounts on a disk has no `O_TMPFILE`.
    if major(candidate.stat.st_dev) == 0 && !is_local(&candidate.file) {
        return Ok(Unnamed::Unsupported);
    }
    let pid = process::id();
    candidate.fill(pid, mode).map_err(Error::io("write", path))?;
    record::stamp(&candidate.file, pid);
    match linkat(&candidate.file, "", AT_FDCWD, path.as_ref(), AtFlags::AT_EMPTY_PATH) {
        Ok(()) => return Ok(Unnamed::Owned(candidate.into_guard(path, pid, true, Origin::Linked))),
        Err(Errno::EEXIST) => {}
        // Before Linux 6.10 that wants CAP_DAC_READ_SEARCH, and says ENOENT without it. There
        // `std::fs::hard_link` would link the symlink in /proc itself.
        Err(_) => {
            let link = proc_link(&candidate.file);
            let follow = AtFlags::AT_SYMLINK_FOLLOW;
            match linkat(AT_FDCWD, link.as_str(), AT_FDCWD, path.as_ref(), follow) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(_) => return Ok(Unnamed::Unsupported),
            }
        }
    }
    // The name that is said to be taken may be ours, where the reply to a first call was lost; and the one
    // that /proc has linked is ours only if it has our number.
    let inode = Inode::of(&candidate.stat);
    if inode.is_named_by(path).map_err(Error::io("examine", path))? {
        Ok(Unnamed::Owned(candidate.into_guard(path, pid, true, Origin::Linked)))
    } else {
        Ok(Unnamed::Taken)
    }
}
