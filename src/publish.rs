//! Putting a lock file of ours in place.
//!
//! Never by linking or renaming a file with another name: on sshfs, bindfs, mergerfs, unionfs-fuse, ntfs-3g and
//! 9p the kernel takes the new name for a new inode, and the kernel lock stays with the old one.

mod exclusive;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod unnamed;

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::{FileStat, fstat};

use crate::error::{Error, TAKE_KERNEL_LOCK};
use crate::guard::{LockGuard, Origin};
use crate::inode::{self, Inode};
use crate::record;

/// Puts a lock file at `path`; `None` if another process was faster.
pub(crate) fn publish(path: &Arc<Path>, mode: u32) -> Result<Option<LockGuard>, Error> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    match unnamed::publish(path, mode)? {
        unnamed::Unnamed::Owned(guard) => return Ok(Some(guard)),
        unnamed::Unnamed::Taken => return Ok(None),
        unnamed::Unnamed::Unsupported => {}
    }
    exclusive::publish(path, mode)
}

/// A new file of ours whose kernel lock we hold.
struct Candidate {
    file: File,
    stat: FileStat,
}

impl Candidate {
    /// `None` if another process was quicker with the kernel lock, or has removed the file.
    fn lock(file: File, path: &Path) -> Result<Option<Candidate>, Error> {
        let locked = match inode::try_kernel_lock(&file) {
            Ok(true) => fstat(&file).map(Some).map_err(io::Error::from),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        match locked {
            Ok(stat) => Ok(stat.map(|stat| Candidate { file, stat })),
            Err(error) if inode::is_gone(&error) => Ok(None),
            Err(error) => Err(Error::io(TAKE_KERNEL_LOCK, path)(error)),
        }
    }

    /// Writes the record, and sets the mode that was asked for.
    fn fill(&self, pid: u32, mode: u32) -> io::Result<()> {
        record::write(&self.file, pid)?;
        if self.stat.st_mode & 0o7777 != mode {
            // The umask took bits away. A file system without modes keeps its own.
            let _ = self.file.set_permissions(Permissions::from_mode(mode));
        }
        Ok(())
    }

    fn into_guard(self, path: &Arc<Path>, pid: u32, local: bool, origin: Origin) -> LockGuard {
        LockGuard::new(Arc::clone(path), self.file, Inode::of(&self.stat), pid, local, origin)
    }

    /// Gives the file up. It unlocks explicitly, because a child that another thread is just forking has a copy
    /// of the descriptor.
    fn abandon(self) {
        let _ = self.file.unlock();
    }
}

/// The options with which both ways of publishing create their file.
fn create_options(mode: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(mode);
    options
}
