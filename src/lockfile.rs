//! A path to lock, and the protocol that locks it.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use crate::error::Error;
use crate::guard::LockGuard;
use crate::incumbent::{self, Access, Incumbent, Look};
use crate::inode;
use crate::owner;
use crate::publish::publish;

/// How often `try_lock` looks at the path before it gives up with `NotExist`. It looks again only if another
/// process changed the file during the last look.
const MAX_LOOKS: usize = 16;

const DEFAULT_MODE: u32 = 0o600;

/// Without this bit, the next process of the same user could not open a file that a crash left.
const OWNER_MAY_READ: u32 = 0o400;

/// The path of a pid file, and how to lock it.
///
/// Creating one does no I/O. It can be cloned, shared between threads and used any number of times.
///
/// # Examples
///
/// ```
/// use pidlockfile::Lockfile;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("example.pid");
/// let lockfile = Lockfile::new(path)?.mode(0o644);
/// {
///     let _guard = lockfile.try_lock()?;
///     assert!(lockfile.try_lock().is_err_and(|error| error.is_temporary()));
/// }
/// let _again = lockfile.try_lock()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lockfile {
    path: Arc<Path>,
    mode: u32,
    kernel_lock_only: bool,
}

impl Lockfile {
    /// Checks `path` and keeps it.
    ///
    /// It must be absolute, because a daemon changes its working directory, and must end in a file name.
    /// `std::path::absolute` makes a path absolute; `~` is not expanded. Use the file for the lock alone: an
    /// existing file that cannot be a lock file is [refused](Error::NotAPidFile), and stays as it is.
    ///
    /// # Errors
    ///
    /// [`NeedAbsPath`](Error::NeedAbsPath) if the path is relative, ends in `/`, `.` or `..`, or holds
    /// a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::{Error, Lockfile};
    ///
    /// assert!(Lockfile::new("/run/example.pid").is_ok());
    /// assert!(matches!(Lockfile::new("example.pid"), Err(Error::NeedAbsPath { .. })));
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Result<Lockfile, Error> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        let file_name = bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if !path.is_absolute() || bytes.contains(&0) || matches!(file_name, b"" | b"." | b"..") {
            return Err(Error::NeedAbsPath { path });
        }
        Ok(Lockfile { path: path.into(), mode: DEFAULT_MODE, kernel_lock_only: false })
    }

    /// Sets the permission bits of the lock file, whatever the umask. Default: `0o600`. The bit that lets the
    /// file's owner read it is always set.
    ///
    /// What to choose depends on who shares the lock:
    ///
    /// | users | directory | `mode` |
    /// |---|---|---|
    /// | one user, or root | its own: `/run/NAME`, `$XDG_RUNTIME_DIR` | `0o600`, or `0o644` if others may read the pid |
    /// | a group | `2775` (setgid), of that group | `0o640`, or `0o660` |
    /// | everybody | `1777` (sticky), such as `/tmp` or `/run/lock` | `0o666` |
    ///
    /// In a sticky directory only the user who owns a file can remove it. A stale file that another user may
    /// write is taken over in place, and the release then empties it instead of removing it. A file that this
    /// user may not read is most likely locked by the user who owns it: `try_lock` returns the temporary error
    /// [`Unreadable`](Error::Unreadable). For a stale file that this user may neither remove nor write, the
    /// error is [`Unremovable`](Error::Unremovable).
    ///
    /// Anyone who may read a stale file can lock it: see *Readers* under [Limits](crate#limits).
    #[must_use]
    pub fn mode(self, mode: u32) -> Lockfile {
        Lockfile { mode: mode & 0o7777 | OWNER_MAY_READ, ..self }
    }

    /// Goes by the kernel lock alone: a file without a kernel lock is stale, even if its record names a running
    /// process.
    ///
    /// This is seldom needed, because a file that this crate left behind carries a stamp and never blocks. A
    /// file without a stamp is honoured while its pid belongs to a running process, because a shell script, for
    /// instance, may have written it. Choose `kernel_lock_only` if such files are left behind on this path and
    /// their pids are recycled, and if every program on the path uses this crate or `flock -n`.
    ///
    /// Do not choose it where two mounts of one directory do not share their kernel locks, nor on gocryptfs:
    /// there only the pid protects the lock. See [File systems](crate#file-systems).
    #[must_use]
    pub fn kernel_lock_only(self) -> Lockfile {
        Lockfile { kernel_lock_only: true, ..self }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock if it is free, and replaces a stale file. It never blocks and never sleeps.
    ///
    /// Bind the guard to a name: `let _guard`, and not `let _`, which drops it at once.
    ///
    /// A refused attempt creates nothing and writes nothing.
    ///
    /// # Errors
    ///
    /// - [`Busy`](Error::Busy): another process holds the lock, or another guard of this process. Temporary.
    /// - [`NotExist`](Error::NotExist): the file changed during every look, because other processes kept taking
    ///   and releasing the lock. Temporary.
    /// - [`Unreadable`](Error::Unreadable): the file is another user's, and this user may not read it.
    ///   Temporary.
    /// - [`NotAFile`](Error::NotAFile), [`NotAPidFile`](Error::NotAPidFile): the path names something else than
    ///   a lock file.
    /// - [`Unremovable`](Error::Unremovable): a stale file of another user, which this user may not remove.
    /// - [`Io`](Error::Io): no such directory, no permission, disk full, a file system without flock(2), …
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::{Error, Lockfile};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("try_lock.pid");
    /// match Lockfile::new(path)?.try_lock() {
    ///     Ok(_guard) => println!("working"),
    ///     Err(error @ Error::Busy { .. }) => println!("not now: {error}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock(&self) -> Result<LockGuard, Error> {
        let mut obstacle = None;
        for nth in 0..MAX_LOOKS {
            if nth > 1 {
                // An NFS client can open a removed file again and again by its cached name.
                let _ = inode::look_up_afresh(&self.path);
            }
            match self.try_once() {
                Ok(Some(guard)) => return Ok(guard),
                Ok(None) => obstacle = None,
                Err(error) if error.is_transient() => obstacle = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(obstacle.unwrap_or_else(|| Error::NotExist { path: self.path.to_path_buf() }))
    }

    /// One turn of the protocol; `None` if another process changed the file during it.
    fn try_once(&self) -> Result<Option<LockGuard>, Error> {
        // Steps 1 and 2: look at what is there, and try its kernel lock.
        match incumbent::look(&self.path, Access::Read)? {
            Look::Absent => {}
            Look::Departed => return Ok(None),
            Look::Locked { pid } => return Err(self.busy(pid, true)),
            Look::Unlocked(incumbent) => {
                self.check_stale(&incumbent)?;
                // Step 3: remove it.
                match incumbent.remove(&self.path) {
                    Ok(true) => {}
                    Ok(false) => return Ok(None),
                    Err(refused @ Error::Unremovable { .. }) => {
                        return self.take_over_in_place(refused);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        // Step 4: no file is there. Publish ours.
        publish(&self.path, self.mode)
    }

    /// Step 3, where the directory does not let us remove another user's file: steps 1 and 2 again, with the
    /// file open for writing.
    fn take_over_in_place(&self, refused: Error) -> Result<Option<LockGuard>, Error> {
        match incumbent::look(&self.path, Access::ReadWrite) {
            Ok(Look::Absent | Look::Departed) => Ok(None),
            Ok(Look::Locked { pid }) => Err(self.busy(pid, true)),
            Ok(Look::Unlocked(incumbent)) => {
                self.check_stale(&incumbent)?;
                incumbent.take_over(&self.path, refused)
            }
            Err(Error::Unreadable { .. }) => Err(refused),
            Err(error) if error.io_kind() == io::ErrorKind::PermissionDenied => Err(refused),
            Err(error) => Err(error),
        }
    }

    /// Checks that a file whose kernel lock is free is stale. The error says why it must stay.
    pub(crate) fn check_stale(&self, incumbent: &Incumbent) -> Result<(), Error> {
        incumbent.check_can_be_a_lock_file(&self.path)?;
        match incumbent.recorded_pid() {
            Some(pid) if !self.kernel_lock_only && is_owned_by(incumbent, pid) => {
                Err(self.busy(Some(pid), false))
            }
            _ => Ok(()),
        }
    }

    /// Reads the owner's pid from the record; `None` if there is no file.
    ///
    /// It does not try the kernel lock, because other attempts would then find the lock busy. The answer is
    /// what `cat` and `kill -0` would tell an operator. It proves nothing; [`holder`](Lockfile::holder) does.
    ///
    /// # Errors
    ///
    /// [`InvalidPid`](Error::InvalidPid) and [`DeadOwner`](Error::DeadOwner): the record names no running
    /// process. Either the file is stale, or flock(1) or a killed owner's child holds its kernel lock. Do not
    /// remove the file: only `try_lock` can tell which it is. [`NotAFile`](Error::NotAFile),
    /// [`Unreadable`](Error::Unreadable) and [`Io`](Error::Io) as in [`try_lock`](Lockfile::try_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::Lockfile;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("owner.pid");
    /// let lockfile = Lockfile::new(path)?;
    /// assert_eq!(lockfile.owner()?, None);
    /// let _guard = lockfile.try_lock()?;
    /// assert_eq!(lockfile.owner()?, Some(std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn owner(&self) -> Result<Option<u32>, Error> {
        let mut recorded = incumbent::recorded_pid(&self.path);
        for _ in 1..MAX_LOOKS {
            match recorded {
                Err(error) if error.is_transient() => {
                    recorded = incumbent::recorded_pid(&self.path);
                }
                _ => break,
            }
        }
        match recorded? {
            Some(pid) if !owner::is_alive(pid) => {
                Err(Error::DeadOwner { path: self.path.to_path_buf(), pid })
            }
            owner => Ok(owner),
        }
    }

    fn busy(&self, pid: Option<u32>, kernel_locked: bool) -> Error {
        Error::Busy { path: self.path.to_path_buf(), pid, kernel_locked }
    }
}

/// Whether the record alone makes `pid` the owner: it is a running process other than this one, and the file is
/// not known to be a leftover of ours.
///
/// Our own pid without a kernel lock was left by an earlier process that had the same pid.
fn is_owned_by(incumbent: &Incumbent, pid: u32) -> bool {
    pid != process::id() && !incumbent.is_leftover_of(pid) && owner::is_alive(pid)
}
