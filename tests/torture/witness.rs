//! What shows that an owner is alone: a record lock that only one can hold, and a count that loses no step.

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
    /// A killed owner must lose the witness no later than the lock, or its successor would be accused.
    /// It does: an exiting process closes its descriptors in the order of their numbers, which frees
    /// record locks there and then (`filp_close`, `locks_remove_posix`), while flock(2) waits for the
    /// last reference to go (`__fput`), which for all of them comes after that, and the witness has
    /// the lower number besides. A script's pid is dead only after that.
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

    /// The beginning of what an owner does. Returns the number of its acquisition.
    pub fn enter(&mut self) -> u64 {
        if let Err(errno) = self.set(libc::F_WRLCK) {
            self.report_violation(&format!("the witness is held by another owner: {errno}"));
        }
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        u64::from_ne_bytes(bytes) + 1
    }

    /// The end of what an owner does: it is counted, and reported as `what`.
    pub fn leave(&mut self, what: &str, number: u64) {
        // A kill between the two skips a number. Two owners at once give one number twice.
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

    /// One write: a pipe takes a line that is shorter than `PIPE_BUF` whole or, at a kill, not at all.
    fn report(&mut self, line: &str) {
        let line: String = line.chars().take(1000).chain(['\n']).collect();
        self.reports.write_all(line.as_bytes()).unwrap();
    }
}

/// The count that the owners have come to.
pub fn count_in(arena: &Arena) -> u64 {
    u64::from_ne_bytes(fs::read(arena.witness()).unwrap().try_into().unwrap())
}
