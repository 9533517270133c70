//! Putting a lock file of ours in place: locked and fully written before it has its name.

mod temporary;
mod unnamed;

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process;
use std::sync::Arc;

use crate::error::Error;
use crate::guard::LockGuard;
use crate::inode::{self, Inode};
use crate::owner::Record;

/// Puts a lock file at `path`; `None` if somebody was faster.
///
/// No peer ever sees the name with an empty or half-written record, or without its kernel lock.
pub(crate) fn publish(path: &Arc<Path>, mode: u32) -> Result<Option<LockGuard>, Error> {
    if let Some(file) = unnamed::create(path, mode)? {
        let Some(candidate) = Candidate::prepare(file, path, mode)? else {
            return Ok(None);
        };
        match unnamed::link(&candidate.file, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            linked => return candidate.settle(path, linked),
        }
    }
    temporary::publish(path, mode)
}

/// How both ways of publishing create their file.
fn create_options(mode: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(mode);
    options
}

fn directory_of(path: &Path) -> &Path {
    path.parent().expect("an absolute path with a file name has a parent")
}

/// A lock file of ours with its kernel lock held and its record written, not yet under its name.
struct Candidate {
    file: File,
    inode: Inode,
    pid: u32,
}

impl Candidate {
    /// `None` if somebody else holds the kernel lock of the new file.
    fn prepare(mut file: File, path: &Path, mode: u32) -> Result<Option<Candidate>, Error> {
        if !inode::try_kernel_lock(&file).map_err(Error::io("take the kernel lock of", path))? {
            return Ok(None);
        }
        let pid = process::id();
        file.write_all(Record::of(pid).as_bytes()).map_err(Error::io("write", path))?;
        let metadata = file.metadata().map_err(Error::io("examine", path))?;
        if metadata.mode() & 0o7777 != mode {
            // The umask took bits away. Where the file system knows no modes, its own have to do.
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        Ok(Some(Candidate { inode: Inode::of(&metadata), file, pid }))
    }

    /// What giving the file its name came to.
    fn settle(self, path: &Arc<Path>, named: io::Result<()>) -> Result<Option<LockGuard>, Error> {
        match named {
            Ok(()) => {}
            // NFS can lose the reply to a call that went through: the name it says is taken may be ours.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !self.inode.is_named_by(path).map_err(Error::io("examine", path))? {
                    return Ok(None);
                }
            }
            Err(error) => return Err(Error::io("create", path)(error)),
        }
        Ok(Some(LockGuard::new(Arc::clone(path), self.file, self.inode, self.pid)))
    }
}
