//! The bare system calls: the same as a lock makes, and nothing around them.
//!
//! What a candidate takes beyond these is its own doing; what these take is the kernel's.

use std::path::Path;

use libc::{LOCK_EX, LOCK_NB, LOCK_UN, O_CLOEXEC, O_CREAT, O_EXCL, O_RDWR};

use crate::calls::{
    Names, close, flock, fstat, fstatfs, getpid, is_running, lstat, read, read_status, unlink,
    write_pid,
};
use crate::candidates::{Attempt, Candidate};

fn bare(path: &Path, calls: fn(&Names, &mut dyn FnMut()) -> bool) -> Attempt {
    let names = Names::of(path);
    Box::new(move |inside| calls(&names, inside))
}

pub const OWN_CALLS: &str = "pidlockfile's calls, bare";

/// The calls of an uncontended cycle of ours, one by one, as strace(1) shows them.
pub const CYCLE: Candidate = Candidate {
    name: OWN_CALLS,
    at: |path| {
        bare(path, |names, inside| {
            assert!(names.open() < 0);
            let file = names.publish();
            inside();
            names.release(file);
            true
        })
    },
};

/// What a pid file with a kernel lock takes at the very least, safe or not.
pub const EXCLUSIVE: Candidate = Candidate {
    name: "O_EXCL + flock + unlink, bare",
    at: |path| {
        bare(path, |names, inside| {
            // SAFETY: the path is a C string.
            let file = unsafe {
                libc::open(names.path.as_ptr(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            };
            if file < 0 {
                return false;
            }
            flock(file, LOCK_EX | LOCK_NB);
            write_pid(file);
            inside();
            unlink(&names.path);
            close(file);
            true
        })
    },
};

/// A refused attempt, where the kernel lock tells: open, flock, read, close.
pub const LOOK: Candidate = Candidate {
    name: "open + flock + read + close, bare",
    at: |path| {
        bare(path, |names, _| {
            let file = names.open();
            assert!(!flock(file, LOCK_EX | LOCK_NB));
            read(file);
            close(file);
            false
        })
    },
};

/// A refused attempt, where only the pid tells: the same, and kill(2).
pub const LOOK_AND_KILL: Candidate = Candidate {
    name: "open + flock + read + kill + close, bare",
    at: |path| {
        bare(path, |names, _| {
            let file = names.open();
            assert!(flock(file, LOCK_EX | LOCK_NB));
            assert!(is_running(read(file)));
            close(file);
            false
        })
    },
};

/// The calls with which we refuse there: /proc tells a running process from a zombie and a mere thread.
pub const LOOK_INTO_PROC: Candidate = Candidate {
    name: OWN_CALLS,
    at: |path| {
        bare(path, |names, _| {
            let file = names.open();
            assert!(flock(file, LOCK_EX | LOCK_NB));
            fstat(file);
            let pid = read(file);
            getpid();
            assert!(is_running(pid));
            read_status(pid);
            flock(file, LOCK_UN);
            close(file);
            false
        })
    },
};

/// The calls with which we replace a stale file, and of the cycle that follows.
pub const TAKEOVER: Candidate = Candidate {
    name: OWN_CALLS,
    at: |path| {
        bare(path, |names, inside| {
            let stale = names.open();
            assert!(flock(stale, LOCK_EX | LOCK_NB));
            fstat(stale);
            let pid = read(stale);
            getpid();
            assert!(!is_running(pid));
            fstatfs(stale);
            lstat(&names.path);
            unlink(&names.path);
            close(stale);
            let file = names.publish();
            inside();
            names.release(file);
            true
        })
    },
};
