//! Pid-file locking between processes: never two owners, never stuck.
//!
//! ```no_run
//! use pidlockfile::Lockfile;
//!
//! fn main() -> anyhow::Result<()> {
//!     let lockfile = Lockfile::new("/run/mydaemon.pid")?;
//!     let _guard = match lockfile.try_lock() {
//!         Err(error) if error.is_temporary() => {
//!             eprintln!("not now: {error}");
//!             std::process::exit(1);
//!         }
//!         result => result?,
//!     };
//!     // The file holds our pid, and no other process gets past `try_lock`.
//!     Ok(())
//! } // The guard is dropped: the file is removed and the lock is free.
//! ```
//!
#![cfg_attr(
    feature = "retry",
    doc = "The [recipes] have whole programs: a cron job, a service of systemd or tokio,"
)]
#![cfg_attr(
    feature = "retry",
    doc = "a daemon that forks, containers, users that share a lock, and tests.\n"
)]
//!
//! # How it works
//!
//! A lock file contains one line, its *record*: `PID\n`, the pid of its owner. The owner also holds an
//! exclusive flock(2) on the file, the *kernel lock*, which the kernel frees when the process ends.
//! [`Lockfile::try_lock`] creates such a file, or examines the one that is there: if nobody holds its kernel
//! lock and its record names no running process, the file is *stale*, and `try_lock` replaces it. Only the
//! process that holds the kernel lock on a file may unlink it: this one rule makes two owners impossible.
//!
//! # Guarantees
//!
//! These hold among processes that use this crate, on a safe [file system](#file-systems), as long as no other
//! program removes or replaces the file:
//!
//! - There is never more than one owner, whether processes or threads compete, even when many find a stale file
//!   at the same time.
//! - After a crash at any point, SIGKILL included, the next `try_lock` gets the lock at once, even if the dead
//!   owner's pid now belongs to another process, as in a restarted container. For this the crate marks its own
//!   files with a *stamp* in the modification time. [Limits](#limits) lists the files that carry no stamp.
//! - A program that knows only pid files, such as a shell script, keeps its lock while it runs, even if it
//!   wrote its pid into a file that this crate left behind.
//! - On a local file system a reader finds a complete record with the owner's pid. Where there is no
//!   `O_TMPFILE` (FUSE, NFS, vfat, …), and while a forked child [adopts](LockGuard::adopt) the lock, a
//!   reader can find the file empty for a moment.
//! - `try_lock` never sleeps and never waits for another process. A refused attempt writes nothing.
//! - `try_lock` never removes or writes a file that cannot be a lock file (see *Short files* under
//!   [Limits](#limits)), nor a symlink, fifo, socket, device or directory: a mistyped path is an
//!   [error](Error::NotAPidFile).
//! - If a forked child drops its copy of the guard, the lock stays locked. [`LockGuard`] describes the one
//!   exception, in a new pid namespace.
//! - [`Lockfile::holder`] finds the process that holds the lock, so that you can stop it, and never returns a
//!   different process. If the lock is held but its holder cannot be proven, that is an
//!   [error](Error::Unproven).
//!
//! # Limits
//!
//! - **Recycled pids.** A file without a stamp counts as locked while its pid belongs to a running process,
//!   even if another process wrote it. These files carry no stamp: a file that another program wrote; a file
//!   [taken over](Lockfile::mode) from another user; a file whose modification time was changed (`touch`);
//!   every file on a file system that is not local or keeps no time in nanoseconds (NFS, FUSE, vfat, ext3, …);
//!   and, where there is no `O_TMPFILE` and in [`adopt`](LockGuard::adopt), the file of a process that was
//!   killed between its record and its stamp. If such pids are recycled, [`Lockfile::kernel_lock_only`] helps.
//! - **Lost descriptors.** A program that closes all its descriptors, as some daemonizers do, loses the lock;
//!   [`LockGuard::verify`] reports it. A program that calls execve(2) loses it, too. Take the lock after such a
//!   step, or take it again.
//! - **Modes and crashes.** A new file lacks the bits of its [mode](Lockfile::mode) that the umask removes,
//!   until the process sets them. Where there is no `O_TMPFILE`, a process that is killed before that leaves a
//!   file that other users, or even the same user, may not open.
//! - **Children of a killed owner.** A child that was forked without exec shares its parent's kernel lock. If
//!   the parent is killed, the lock stays busy until the child ends, too.
//! - **Short files.** These files can be lock files, and are replaced if they name no running process: any file
//!   of up to 16 bytes, any small file of nothing but blanks and NUL bytes, and any file whose first line is a
//!   number.
//! - **Directories that others can write.** Anyone who can write to the directory can remove the file, and then
//!   another process can take the lock. `verify` reports it; nothing can prevent it. If that happens between
//!   our check of a file and our unlink, we remove the other process's new file: no system call checks and
//!   unlinks in one step.
//! - **Readers.** Anyone who can read a stale file can flock(2) it, and so keep others from replacing it. The
//!   mode is therefore `0600` unless [`Lockfile::mode`] changes that.
//! - **Momentary refusals.** An attempt holds the kernel lock on a stale file for some microseconds while it
//!   looks at it. Another attempt in that moment gets [`Error::Busy`], with the pid in the stale file.
//! - **Other pid namespaces.** A pid means nothing in another pid namespace. The kernel lock keeps containers
//!   that share a directory apart, but the pid that one of them reads can belong to the other's namespace.
//! - **A fifo in the file's place** is refused, but is opened first: a process that waits to write to it
//!   continues, and gets SIGPIPE.
//!
//! # File systems
//!
#![doc = include_str!("file-systems.md")]
//!
//! The crate treats f2fs, zfs and bcachefs as local, like the file systems in the first row; they were not
//! tested. Some mounts of one directory do not share their kernel locks: FUSE and the directory behind it, or
//! NFS and its server's disk. There only the recorded pid protects the lock. It is honoured while it names a
//! running process, but two attempts at the same moment can both succeed, and with `kernel_lock_only` nothing
//! protects the lock. `tests/filesystems.sh` in the repository tests every file system that the machine can
//! mount.
//!
//! # Other pid-file programs
//!
//! | program | with this crate |
//! |---|---|
//! | flock(1), flock(2) | Each is refused while the other holds the lock. Use `flock -n`: our release removes the file, so a flock(1) that waits then locks a file without a name, which keeps nobody out |
//! | Python's filelock | The same, with [`Lockfile::kernel_lock_only`]. It empties our record each time it tries |
//! | a script that writes its pid and removes the file | We honour its lock while it runs. It honours ours if it checks the pid |
//! | Go's nightlyone/lockfile | Each honours the other's lock. Once it has found a stale file, it removes whatever file the path then names, so two owners are possible when both take over a stale file at once |
//! | fcntl(2) record locks (`lockf`, Python's `fcntl.lockf`) | Neither keeps the other out: flock(2) does not see these locks |
//!
#![cfg_attr(feature = "retry", doc = include_str!("retry/crate-page.md"))]
//!
//! # Platforms
//!
//! Linux is tested, as root and as an ordinary user. Other Unixes are untested; the code is meant to compile
//! there. It runs as on a Linux without `O_TMPFILE` and /proc, which the tests force: there are no stamps, and
//! a zombie counts as alive. Windows is not supported.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("pidlockfile needs flock(2) and pid files, which only Unix has");

#[cfg(any(doc, doctest))]
#[cfg(feature = "retry")]
pub mod recipes;
#[cfg(feature = "etcd")]
pub mod etcd;
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
#[cfg(all(doctest, feature = "etcd"))]
#[doc = include_str!("../README.md")]
struct Readme;
