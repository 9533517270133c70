//! Pid-file locking between processes: never two owners, never stuck.
//!
//! ```no_run
//! use pidlockfile::{Error, Lockfile};
//!
//! fn main() -> Result<(), Error> {
//!     let lockfile = Lockfile::new("/run/mydaemon.pid")?;
//!     let _guard = match lockfile.try_lock() {
//!         Ok(guard) => guard,
//!         Err(error) if error.is_temporary() => {
//!             eprintln!("not now: {error}");
//!             std::process::exit(1);
//!         }
//!         Err(error) => return Err(error),
//!     };
//!     // The file holds our pid, and no other process gets past `try_lock`.
//!     Ok(())
//! } // The guard is dropped: the file is removed and the lock is free.
//! ```
//!
//! # How it works
//!
//! A lock file holds `PID\n`. Its owner also holds an exclusive flock(2) on it, the *kernel lock*, which
//! the kernel frees when the process ends. [`Lockfile::try_lock`] puts such a file under the path, or finds
//! one there. A file without a kernel lock whose record names no running process is *stale*, and is
//! replaced. Only the process that holds the kernel lock on a file may unlink it: this one rule makes two
//! owners impossible.
//!
//! # Guarantees
//!
//! Among processes that use this crate, on a [file system](#file-systems) that is safe, as long as no other
//! program removes or replaces the file:
//!
//! - There is never more than one owner, be it processes or threads, even when many find a stale file
//!   at the same time.
//! - After a crash at any point, SIGKILL included, the next `try_lock` gets the lock at once, even if
//!   the dead owner's pid belongs to another process by now, as in a restarted container. The crate marks its
//!   own files with a *stamp* in the modification time. See [Limits](#limits) for where no stamp can be
//!   kept.
//! - A program that knows pid files only, such as a shell script, is honoured while it runs, even if it wrote
//!   its pid into a file that this crate left behind.
//! - On a local file system a reader finds a complete record with the owner's pid. Where there is no
//!   `O_TMPFILE` (FUSE, NFS, vfat, …), and while a forked child [adopts](LockGuard::adopt) the lock, a
//!   reader can find the file empty for a moment.
//! - `try_lock` never sleeps and waits for no other process. A refused attempt writes nothing.
//! - A file that holds something other than a lock file can hold is never removed or written, and neither is
//!   a symlink, fifo, socket, device or directory: a mistyped path is an [error](Error::NotAPidFile).
//! - A child made by fork(2) that drops its copy of the guard frees nothing. See [`LockGuard`] for the
//!   exception in nested pid namespaces.
//! - [`Lockfile::holder`] finds the process that holds the lock, to stop it, and never takes another one for it.
//!   What is held but cannot be proven is an [error](Error::Unproven).
//!
//! # Limits
//!
//! - **Recycled pids.** A file that carries no stamp is honoured while its pid is a running process. That
//!   is every file that another program wrote, every file on a file system that is not local or keeps no
//!   time in nanoseconds (NFS, FUSE, vfat, ext3, …), and a file that was [taken over](Lockfile::mode) from another
//!   user. Where there is no `O_TMPFILE`, and in [`adopt`](LockGuard::adopt), it is also the file of a process
//!   that was killed between its record and its stamp. So is a file that was touched. If such a pid was
//!   recycled, [`Lockfile::kernel_lock_only`] helps.
//! - **Lost descriptors.** A program that closes all its descriptors, as some daemonizers do, loses the lock,
//!   and so does one that calls execve(2). [`LockGuard::verify`] reports it. Lock after that, or anew.
//! - **Modes and crashes.** Where there is no `O_TMPFILE`, a process that is killed before it has set the mode
//!   that the umask took away leaves a file that other users, or even its own, may not open.
//! - **Children of a killed owner.** A child that was forked without exec shares its parent's kernel lock,
//!   and keeps it if the parent is killed. The lock is busy until that child ends.
//! - **Short files.** Any file of up to 16 bytes, and any file whose first line is a number, can be a lock
//!   file. If it names no running process, it is replaced.
//! - **Directories that others can write.** Anyone who can write to the directory can remove the file, and
//!   then another process can lock. `verify` reports it; nothing can prevent it. A file that is removed and
//!   locked anew between our check and our unlink is removed, too: no system call does both at once.
//! - **Readers.** Anyone who can read the file can flock(2) it, and so keep others from taking it over.
//!   Its mode is therefore `0600` unless [`Lockfile::mode`] changes that.
//! - **Momentary refusals.** An attempt that looks at a stale file holds its kernel lock for some
//!   microseconds. Another attempt in that moment is told [`Error::Busy`], with the pid that the stale file names.
//! - **Other pid namespaces.** A pid means nothing in another pid namespace. Containers that share a
//!   directory are kept apart by the kernel lock, but the pid that they read is not one of theirs.
//! - **A fifo in the file's place** is refused, but opened first: a writer that waits for a reader there goes
//!   on, and gets SIGPIPE.
//!
//! # File systems
//!
#![doc = include_str!("file-systems.md")]
//!
//! f2fs, zfs and bcachefs count as local, like those of the first line; they were not tried. Where two mounts
//! show one directory and share no kernel lock (FUSE beside the directory behind it, NFS beside its
//! server's disk), the pid is all that protects the lock: an owner is honoured once its record is there and while
//! its pid is a running process. Two attempts at one moment can both succeed, and `kernel_lock_only` protects
//! nothing there. `tests/filesystems.sh` in the repository tries what a machine can mount.
//!
//! # Other pid-file programs
//!
//! | program | with this crate |
//! |---|---|
//! | flock(1), flock(2) | Each is refused while the other holds the lock. Use `flock -n`: our release removes the file, so a flock(1) that waits for it gets the lock of a file without a name, which keeps nobody out |
//! | Python's filelock | The same, with [`Lockfile::kernel_lock_only`]. It empties our record each time it tries |
//! | a script that writes its pid and removes the file | We honour its lock while it runs. It honours ours if it checks the pid |
//! | Go's nightlyone/lockfile | Each honours the other's lock. It removes by name a file that it judged stale earlier, so two owners are possible when both take over a stale file at once |
//! | fcntl(2) record locks (`lockf`, Python's `fcntl.lockf`) | Another kind of lock, which flock(2) does not see |
//!
#![cfg_attr(feature = "retry", doc = include_str!("retry/crate-page.md"))]
//!
//! # Platforms
//!
//! Linux is tested, as root and as an ordinary user. Other Unixes are untested; the code is meant to compile
//! there. They take the paths that Linux takes without `O_TMPFILE` and /proc, which the tests force, so
//! there are no stamps, and a zombie counts as alive. Windows is not supported.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("pidlockfile needs flock(2) and pid files, which only Unix has");

#[cfg(any(doc, doctest))]
#[cfg(feature = "retry")]
pub mod recipes;
mod holder;
#[cfg(feature = "retry")]
pub mod retry;
mod lockfile;
mod publish;
mod incumbent;
mod guard;
mod descriptor;
mod error;
mod owner;
mod record;
mod inode;

pub use error::Error;
pub use guard::LockGuard;
pub use holder::Holder;
pub use lockfile::Lockfile;

/// Has the README's examples compiled and run.
#[cfg(all(doctest, feature = "retry"))]
#[doc = include_str!("../README.md")]
struct Readme;
