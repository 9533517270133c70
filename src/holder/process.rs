//! A process, identified by a pidfd, and what /proc shows of its open files.

use std::io;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod open_files;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::{Process, Signal};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use other::{Process, Signal};

/// Why the recorded process is not proven to hold the lock.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "elsewhere nothing can be looked at")
)]
pub(super) enum Doubt {
    NoPid,
    Ended,
    NotTheHolder,
    OnlyReads,
    NoKernelLock,
    FilesHidden,
    ProcessHidden,
    NoProc,
    NoPidfd,
    /// The system lacked memory or descriptors to look; with the step that failed.
    Io(&'static str, io::Error),
}

impl Doubt {
    /// The reason in `Error::Unproven`, which continues a sentence about the process.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Doubt::NoPid => {
                "no pid is recorded, as when flock(1) holds the lock; `fuser` or `lsof` on the file shows \
                 who does"
            }
            Doubt::Ended => {
                "it has ended, and a child of it or a reader holds the kernel lock, or it runs in another \
                 container; `fuser` or `lsof` on the file shows which"
            }
            Doubt::NotTheHolder => {
                "it does not have the kernel lock, so the pid was recorded in another container, or by an \
                 owner that has ended; `fuser` or `lsof` on the file shows who has it"
            }
            Doubt::OnlyReads => {
                "it has the file open for reading only, as flock(1) has, or another attempt to lock"
            }
            Doubt::NoKernelLock => "nobody has the kernel lock, as when a script recorded its pid",
            Doubt::FilesHidden => {
                "this user may not see its open files, because it belongs to another user or has \
                 changed its user; ask as root"
            }
            Doubt::ProcessHidden => "/proc does not show it to this user; ask as root",
            Doubt::NoProc => "/proc is not mounted, or shows another pid namespace",
            Doubt::NoPidfd => {
                "the system provides no pidfd for it, which needs Linux 5.3 or later and no seccomp filter \
                 against that"
            }
            Doubt::Io(..) => "the system could not look",
        }
    }
}
