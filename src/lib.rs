//! Pid-file locking between processes: never two owners, never stuck.

#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("pidlockfile needs flock(2) and pid files, which only Unix has");

#[cfg(feature = "retry")]
pub mod retry;
mod lockfile;
mod publish;
mod incumbent;
mod guard;
mod inode;
mod owner;
mod error;

pub use error::Error;
pub use guard::LockGuard;
pub use lockfile::Lockfile;
