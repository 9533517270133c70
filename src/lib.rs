//! Pid-file locking between processes: never two owners, never stuck.
//!
//! ```
//! use pidlockfile::Lockfile;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("mydaemon.pid");
//! # let path = path.to_str().unwrap();
//! // In a daemon, path = "/run/mydaemon.pid"
//! let lockfile = Lockfile::new(path)?;
//! let _guard = lockfile.try_lock()?; // fails at once if another process has the lock
//! // … the file holds our pid, and nobody else gets past `try_lock` …
//! # Ok(())
//! # }
//! // Here the guard is dropped: the file is removed and the lock is free.
//! ```
//!
//! # How it works
//!
//! A lock file holds `PID\n`, and its owner an exclusive flock(2) on it, the *kernel lock*.
//! [`Lockfile::try_lock`] makes a file that has both before it has a name, and links it into place; if
//! the name is taken, it looks whether the file there is stale. Stale is a file with no kernel lock on
//! it whose record names no running process. Only who holds the kernel lock on the file that the path
//! names may remove that name: this one rule makes two owners impossible. The kernel frees its lock
//! when a process ends, by whatever death, so nothing stays stuck.
//!
//! # Guarantees
//!
//! Among processes that use this crate, on a file system whose flock(2) they share, as long as nobody
//! else meddles with the file:
//!
//! - There is never more than one owner, be it processes or threads, also when many find a stale file
//!   at the same time.
//! - Whoever reads the file finds a complete record with the owner's pid. It is never empty and never
//!   half written.
//! - After a crash at any point, SIGKILL included, the next `try_lock` gets the lock. Where the file
//!   system has no `O_TMPFILE`, a crash can leave a temporary `.pidlockfile-…`, which the next process that
//!   locks in that directory removes.
//! - `try_lock` never blocks and never sleeps; a refused attempt writes nothing.
//! - A child made by fork(2) that drops its copy of the guard frees nothing; one that goes on in its
//!   parent's place [adopts](LockGuard::adopt) the lock.
//! - Symlinks, fifos, devices and directories in the file's place are refused, and neither followed nor
//!   removed. No file that this crate has not created is ever written to.
//!
//! # Limits
//!
//! - **Recycled pids.** By default a record without a kernel lock that names a running process is
//!   honoured. After a crash whose pid another process got, as in a container that restarts, the lock
//!   is busy until that one ends. Where every program on the path uses this crate or `flock -n`, choose
//!   [`Lockfile::kernel_lock_only`]. Our own pid is never taken for another process's.
//! - **Children of a killed owner.** A child forked without exec keeps the kernel lock while it lives.
//!   The lock is then busy, and the error names the dead owner, since its pid is what the file says.
//! - **Meddling.** Whoever may write the directory can remove the file, and then another process can
//!   lock. [`LockGuard::verify`] tells a daemon; nothing can prevent it. If the file is removed and locked
//!   anew in the very moment between our check and our removal, the new one is removed: no system call
//!   does both at once.
//! - **Other content.** The path must be for the lock alone. A regular file there that names no running
//!   process is stale and is removed, whatever it holds.
//! - **Readers.** Whoever may read the file may flock(2) it and so keep others from taking it over.
//!   Hence its mode is `0600` unless [`Lockfile::mode`] says otherwise.
//! - **Several machines.** flock(2) is shared over NFS, but not with `nolock` or `local_lock=flock`,
//!   nor over Gluster or most mounts between host and guest. Nothing protects a lock there.
//! - **Other pid namespaces.** A pid means nothing in another pid namespace. Containers that share a
//!   directory are kept apart by the kernel lock; the pid they read may be another process's there. A
//!   child that pid 1 forks into a new namespace has its parent's pid: see [`LockGuard`].
//!
//! # Other pid-file programs
//!
//! | program | with this crate |
//! |---|---|
//! | flock(1), flock(2) | each is refused while the other holds the lock. Our release removes the file: a flock(1) that had opened it by then, to wait for the lock, gets the lock of a file without a name, which keeps nobody out. Use `flock -n`, where the moment between its open and its flock is all that is left |
//! | Python's filelock | the same, with [`Lockfile::kernel_lock_only`]; and it empties our record each time it tries |
//! | a script that writes its pid and removes the file | its lock is honoured while it runs, ours by it if it checks the pid |
//! | Go's nightlyone/lockfile | each honours the other's lock. It removes by name a file that it judged stale earlier, so when a stale file is taken over by both at once, two owners are possible |
//! | fcntl(2) record locks (`lockf`, Python's `fcntl.lockf`) | another kind of lock, which flock(2) does not see |
//!
#![cfg_attr(feature = "retry", doc = include_str!("retry/crate-page.md"))]
//!
//! # Platforms
//!
//! Tested on Linux, as root and as an ordinary user. Other Unixes take the paths that Linux takes where
//! `O_TMPFILE` and /proc are missing, and the tests force those; they are not tested on those systems
//! themselves. There a zombie counts as alive to those who go by its pid. Windows is not supported.

#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("pidlockfile needs flock(2) and pid files, which only Unix has");

#[cfg(feature = "retry")]
pub mod retry;
mod lockfile;
mod publish;
mod incumbent;
mod guard;
mod error;
mod owner;
mod record;
mod inode;

pub use error::Error;
pub use guard::LockGuard;
pub use lockfile::Lockfile;

/// Has the README's examples compiled and run.
#[cfg(all(doctest, feature = "retry"))]
#[doc = include_str!("../README.md")]
struct Readme;
