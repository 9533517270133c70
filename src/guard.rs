//! A lock that is held: checking it, adopting it after a fork, and releasing it.

use std::fs::File;
use std::path::Path;
use std::process;
use std::sync::Arc;

use nix::sys::stat::FileStat;

use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::inode::{self, Inode};
use crate::record::{self, Content};

/// The lock, held until this value is dropped.
///
/// Dropping it removes the lock file and frees the lock, also while a panic unwinds. Drop cannot report a
/// failure; [`unlock`](LockGuard::unlock) does the same and can.
///
/// The guard may move to another thread and be dropped there. `let _ = lockfile.try_lock()?` drops it at once;
/// `let _guard = …` keeps it to the end of the scope. [`std::process::exit`], `abort` and [`std::mem::forget`]
/// run no Drop: then the kernel frees the lock when the process ends, and the next
/// [`try_lock`](crate::Lockfile::try_lock) removes the file.
///
/// # Forked children
///
/// A child made by fork(2) has a copy of the guard and shares the kernel lock, but the lock still belongs to
/// its parent. In the child, Drop only closes the copy: it neither removes the file nor unlocks. The kernel
/// lock lasts until every copy is closed; execve(2) closes the copy of the process that calls it.
/// [`adopt`](LockGuard::adopt) makes the child the owner.
///
/// A child in a new pid namespace must [`forget`](std::mem::forget) the guard. The guard recognizes a child by its
/// pid, and there a child can have its parent's: both can be pid 1. Such a child takes the lock for its own, and
/// its Drop removes the parent's file.
#[derive(Debug)]
#[must_use = "the lock is released as soon as its guard is dropped; bind it: `let _guard = …`"]
pub struct LockGuard {
    path: Arc<Path>,
    /// Holds the kernel lock until it is closed. Nothing here unlocks it explicitly: that would also free the
    /// lock for all processes to which a fork gave a copy.
    descriptor: Descriptor,
    /// The process that the lock belongs to; in a forked child, its parent.
    pid: u32,
    /// Whether device and inode number prove which file the path names.
    local: bool,
    origin: Origin,
    unlocked: bool,
}

/// How the file got its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Origin {
    /// It was linked with its record and stamp in it, before any other program could write into it.
    Linked,
    /// It was created empty, and filled afterwards.
    Created,
    /// It is another user's file, which only that user may remove.
    TakenOver,
}

impl LockGuard {
    pub(crate) fn new(
        path: Arc<Path>,
        file: File,
        inode: Inode,
        pid: u32,
        local: bool,
        origin: Origin,
    ) -> LockGuard {
        let descriptor = Descriptor::new(file, inode);
        LockGuard { path, descriptor, pid, local, origin, unlocked: false }
    }

    /// Makes a stale file ours. `file` already holds its kernel lock.
    pub(crate) fn take_over(path: Arc<Path>, file: File, inode: Inode) -> Result<LockGuard, Error> {
        let local = inode::is_local(&file);
        let origin = Origin::TakenOver;
        let mut guard = LockGuard::new(path, file, inode, process::id(), local, origin);
        // Until it is ours, Drop must leave it alone.
        guard.unlocked = true;
        guard.rewrite_record()?;
        guard.unlocked = false;
        Ok(guard)
    }

    /// Returns the path of the lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that this process still holds the lock.
    ///
    /// A daemon can call this now and then, or before work that must not be done twice. Another program can
    /// remove the file, and then another process can take the lock: nothing can prevent that, but this method
    /// reports it. It also reports that this process has closed the descriptor that held the lock.
    ///
    /// # Errors
    ///
    /// [`RogueDeletion`](Error::RogueDeletion) if the file was removed, replaced or overwritten;
    /// [`LostDescriptor`](Error::LostDescriptor) if this process closed it;
    /// [`NotAdopted`](Error::NotAdopted) in a forked child; [`Io`](Error::Io) if a system call fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("verify.pid");
    /// let guard = pidlockfile::Lockfile::new(&path)?.try_lock()?;
    /// guard.verify()?;
    ///
    /// std::fs::remove_file(&path)?;
    /// assert!(matches!(guard.verify(), Err(pidlockfile::Error::RogueDeletion { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify(&self) -> Result<(), Error> {
        self.check_not_inherited()?;
        self.check_untouched()
    }

    /// Makes the calling process the owner of the lock, after a fork(2).
    ///
    /// This is for a daemon that takes the lock while it can still print to the terminal, and then forks into
    /// the background. The lock is never free in between. A reader finds the old owner's pid, for a moment an
    /// empty file, and then the new owner's pid. After that, the parent's guard no longer removes the file: its
    /// Drop only closes it, and its `unlock` reports [`RogueDeletion`](Error::RogueDeletion).
    ///
    /// **The parent must not release while the child adopts.** It must wait until the child reports success,
    /// through a pipe for instance, or end without Drop ([`std::process::exit`]). Only one process may adopt:
    /// if two children adopt at the same time, both calls can succeed.
    ///
    /// In the process that owns the lock already, this is the same as [`verify`](LockGuard::verify).
    ///
    /// # Errors
    ///
    /// [`RogueDeletion`](Error::RogueDeletion) if the file was removed, replaced or overwritten;
    /// [`Io`](Error::Io) if the record cannot be written.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("adopt.pid");
    /// let lockfile = pidlockfile::Lockfile::new(path)?;
    /// let mut guard = lockfile.try_lock()?;
    /// // … fork; the parent exits and the child goes on …
    /// guard.adopt()?;
    /// assert_eq!(lockfile.owner()?, Some(std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt(&mut self) -> Result<(), Error> {
        self.check_untouched()?;
        let pid = process::id();
        if pid == self.pid {
            return Ok(());
        }
        self.pid = pid;
        if self.origin == Origin::Linked {
            self.origin = Origin::Created;
        }
        self.rewrite_record()
    }

    /// Releases the lock, removes the file, and reports any failure.
    ///
    /// Afterwards the kernel lock is free in any case, unless a forked child still has a copy of it. If the
    /// record cannot be read, or the path leads to another place since a chroot(2), the file stays as it is,
    /// and other processes may honour the pid in it until this process ends.
    ///
    /// # Errors
    ///
    /// [`RogueDeletion`](Error::RogueDeletion) if the file was removed, replaced or overwritten;
    /// whatever is there now is left alone. [`LostDescriptor`](Error::LostDescriptor) if this process closed the
    /// file. [`NotAdopted`](Error::NotAdopted) in a forked child; the owner keeps the lock. [`Io`](Error::Io) if
    /// the file cannot be removed, for instance because the process has dropped its privileges. The file is then
    /// emptied, and every other program takes an empty file for stale. A file that was taken over from another
    /// user is always emptied, without an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("unlock.pid");
    /// let guard = pidlockfile::Lockfile::new(&path)?.try_lock()?;
    /// guard.unlock()?;
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unlock(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        self.unlocked = true;
        let released = self.release();
        let lost = match &released {
            // A forked child may have closed its copy as well.
            Err(Error::NotAdopted { .. }) => {
                matches!(self.check_descriptor(), Err(Error::LostDescriptor { .. }))
            }
            released => matches!(released, Err(Error::LostDescriptor { .. })),
        };
        if lost {
            self.descriptor.let_go();
        }
        released
    }

    fn release(&self) -> Result<(), Error> {
        self.check_not_inherited()?;
        let stat = self.check_record()?;
        // Unlink first; closing the file then frees the kernel lock. In the other order the name would be there
        // for a moment without its kernel lock, and a peer would take the file for stale.
        match self.remove_name(&stat) {
            Err(refused @ Error::Io { .. }) => {
                // An empty record is stale to every peer, even while our process keeps running.
                let emptied = self.file().set_len(0);
                if self.origin == Origin::TakenOver {
                    emptied.map_err(Error::io("truncate", &self.path))
                } else {
                    Err(refused)
                }
            }
            released => released,
        }
    }

    fn remove_name(&self, stat: &FileStat) -> Result<(), Error> {
        self.check_name(stat)?;
        if inode::remove(&self.path).map_err(Error::io("remove", &self.path))? {
            Ok(())
        } else {
            Err(self.rogue_deletion())
        }
    }

    fn check_untouched(&self) -> Result<(), Error> {
        self.check_name(&self.check_record()?)
    }

    fn check_not_inherited(&self) -> Result<(), Error> {
        if self.pid == process::id() {
            Ok(())
        } else {
            Err(Error::NotAdopted { path: self.path.to_path_buf(), pid: self.pid })
        }
    }

    fn file(&self) -> &File {
        self.descriptor.file()
    }

    /// The stat of the open file, if its descriptor still refers to that file.
    fn check_descriptor(&self) -> Result<FileStat, Error> {
        match self.descriptor.examine() {
            Ok(Some(stat)) => Ok(stat),
            Ok(None) => Err(Error::LostDescriptor { path: self.path.to_path_buf() }),
            Err(error) if inode::is_gone(&error) => Err(self.rogue_deletion()),
            Err(error) => Err(Error::io("examine", &self.path)(error)),
        }
    }

    fn check_record(&self) -> Result<FileStat, Error> {
        let stat = self.check_descriptor()?;
        // Any write since the file got its name has made the stamp void.
        if self.origin == Origin::Linked && record::is_stamped(&stat, self.pid) {
            return Ok(stat);
        }
        let content = Content::of(self.file()).map_err(Error::io("read", &self.path))?;
        if content.pid() == Some(self.pid) { Ok(stat) } else { Err(self.rogue_deletion()) }
    }

    fn check_name(&self, stat: &FileStat) -> Result<(), Error> {
        let named = if self.local {
            self.descriptor.inode().is_named_by(&self.path)
        } else {
            inode::is_named(self.file(), stat, &self.path)
        };
        if named.map_err(Error::io("examine", &self.path))? {
            Ok(())
        } else {
            Err(self.rogue_deletion())
        }
    }

    /// Replaces the old record by ours.
    ///
    /// Empty the file, then write in one call: a reader finds the old pid, nothing, or ours. If a shorter
    /// record were written over a longer one, a reader could find a third pid.
    fn rewrite_record(&self) -> Result<(), Error> {
        self.file().set_len(0).map_err(Error::io("truncate", &self.path))?;
        record::write(self.file(), self.pid).map_err(Error::io("write", &self.path))?;
        if self.local {
            record::stamp(self.file(), self.pid);
        }
        Ok(())
    }

    fn rogue_deletion(&self) -> Error {
        Error::RogueDeletion { path: self.path.to_path_buf() }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.unlocked {
            let _ = self.end();
        }
    }
}
