//! A file without a name, `O_TMPFILE`, which linkat(2) then names. A crash before that leaves nothing behind.
//!
//! From the moment when the name appears, the record is complete and the kernel lock is held.

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

/// The outcome of publishing this way.
pub(super) enum Unnamed {
    Owned(LockGuard),
    /// Another file has the name.
    Taken,
    /// It cannot be done here, or not safely.
    Unsupported,
}

pub(super) fn publish(path: &Arc<Path>, mode: u32) -> Result<Unnamed, Error> {
    let mut options = create_options(mode);
    // If the cause is not a missing `O_TMPFILE`, the exclusive creation meets it, too, and reports it.
    let Ok(file) = options.custom_flags(OFlag::O_TMPFILE.bits()).open(directory_of(path)) else {
        return Ok(Unnamed::Unsupported);
    };
    let Some(candidate) = Candidate::lock(file, path)? else {
        return Ok(Unnamed::Taken);
    };
    // If a FUSE server has `O_TMPFILE`, the kernel may take the name that it links for another inode than the
    // one that we locked. A major number other than 0 means a disk, where no statfs(2) is needed: FUSE on a
    // disk has no `O_TMPFILE`.
    if major(candidate.stat.st_dev) == 0 && !is_local(&candidate.file) {
        return Ok(Unnamed::Unsupported);
    }
    let pid = process::id();
    candidate.fill(pid, mode).map_err(Error::io("write", path))?;
    record::stamp(&candidate.file, pid);
    match linkat(&candidate.file, "", AT_FDCWD, path.as_ref(), AtFlags::AT_EMPTY_PATH) {
        Ok(()) => return Ok(Unnamed::Owned(candidate.into_guard(path, pid, true, Origin::Linked))),
        Err(Errno::EEXIST) => {}
        // Before Linux 6.10, AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH, and linkat(2) returns ENOENT without it.
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
    // After EEXIST the name may still be ours, if the reply to a first call was lost (NFS). After a link
    // through /proc the name is ours only if it has our inode number.
    let inode = Inode::of(&candidate.stat);
    if inode.is_named_by(path).map_err(Error::io("examine", path))? {
        Ok(Unnamed::Owned(candidate.into_guard(path, pid, true, Origin::Linked)))
    } else {
        Ok(Unnamed::Taken)
    }
}
