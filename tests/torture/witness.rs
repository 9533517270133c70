//! Evidence that an owner is alone: a record lock that only one process can hold, and a count that loses no
//! step.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::arena::Arena;

pub struct Witness {
    /// Opened once and never closed: closing any descriptor of a file frees the process's record locks on it.
    ///
    /// A killed owner must lose the witness no later than the lock, or its successor would be accused. It does:
    /// an exiting process closes its descriptors in the order of their numbers, which frees record locks at
    /// once (`filp_close`, `locks_remove_posix`). flock(2) is freed when the last reference to the file goes
    /// (`__fput`), which happens after all of that, and the witness also has the lower number. A script's pid
    /// is dead only after that.
    file: File,
    reports: File,
}

impl Witness {
    pub fn at(arena: &Arena) -> Witness {
        Witness {
            file: File::options().read(true).write(true).open(arena.witness()).unwrap(),
            reports: File::options().append(true).open(arena.reports()).unwrap(),
        }
    }

    /// An owner's first action. Returns the number of its acquisition.
    pub fn enter(&mut self) -> u64 {
        if let Err(errno) = self.set(libc::F_WRLCK) {
            self.report_violation(&format!("the witness is held by another owner: {errno}"));
        }
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        u64::from_ne_bytes(bytes) + 1
    }

    /// An owner's last action: it increments the count, and is reported as `what`.
    pub fn leave(&mut self, what: &str, number: u64) {
        // A kill between the two skips a number. Two owners at once report one number twice.
        self.file.write_all_at(&number.to_ne_bytes(), 0).unwrap();
        self.report(&format!("{what} {number}"));
        self.set(libc::F_UNLCK).unwrap();
    }

    fn set(&self, kind: i32) -> nix::Result<i32> {
        let lock = libc::flock {
            l_type: kind.try_into().unwrap(),
            l_whence: libc::SEEK_SET.try_into().unwrap(),
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&self.file, FcntlArg::F_SETLK(&lock))
    }

    pub fn report_violation(&mut self, what: &str) {
        self.report(&format!("violation by {}: {what}", process::id()));
    }

    /// One write: a pipe takes a line shorter than `PIPE_BUF` as a whole, or not at all if the process is
    /// killed.
    fn report(&mut self, line: &str) {
        let line: String = line.chars().take(1000).chain(['\n']).collect();
        self.reports.write_all(line.as_bytes()).unwrap();
    }
}

/// The owners' present count.
pub fn count_in(arena: &Arena) -> u64 {
    u64::from_ne_bytes(fs::read(arena.witness()).unwrap().try_into().unwrap())
}
