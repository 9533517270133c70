//! One of those who fight: this test binary run again. It locks, looks whether it is alone, counts, unlocks.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, process, thread};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use pidlockfile::{LockGuard, Lockfile};

use crate::refuse::refuse;

const DIR_VARIABLE: &str = "PIDLOCKFILE_TORTURE_DIR";
const RULES_VARIABLE: &str = "PIDLOCKFILE_TORTURE_RULES";
const KERNEL_LOCK_ONLY: &str = "kernel_lock_only";
const ONE_ROUND: &str = "one_round";

/// How all of them lock.
#[derive(Clone, Copy)]
pub struct Rules {
    pub kernel_lock_only: bool,
    /// What the kernel refuses them, and so how they publish.
    pub refused: &'static [&'static str],
}

/// Where they fight. The lock has a directory to itself, so that nothing left there goes unseen.
pub struct Arena {
    pub dir: PathBuf,
}

impl Arena {
    pub fn lock_dir(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub fn lock_path(&self) -> PathBuf {
        self.lock_dir().join("test.pid")
    }

    /// The file with the witness, a record lock, and in it the count.
    pub fn witness(&self) -> PathBuf {
        self.dir.join("witness")
    }

    /// The fifo to the referee.
    pub fn reports(&self) -> PathBuf {
        self.dir.join("reports")
    }
}

pub fn start(arena: &Arena, rules: Rules, rounds: Rounds) -> Child {
    let mut words = rules.refused.to_vec();
    if rules.kernel_lock_only {
        words.push(KERNEL_LOCK_ONLY);
    }
    if rounds == Rounds::One {
        words.push(ONE_ROUND);
    }
    Command::new(env::current_exe().unwrap())
        .args(["worker::worker", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR_VARIABLE, &arena.dir)
        .env(RULES_VARIABLE, words.join(" "))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[derive(Clone, Copy, PartialEq)]
pub enum Rounds {
    /// Until it is killed.
    Endless,
    One,
}

#[test]
#[ignore = "not a test: what each process in the fight runs"]
fn worker() {
    let dir = env::var_os(DIR_VARIABLE).expect("only the fight runs this");
    let rules = env::var(RULES_VARIABLE).unwrap();
    let mut worker = Worker::at(&Arena { dir: dir.into() });
    let mut rounds = Rounds::Endless;
    for word in rules.split_whitespace() {
        match word {
            KERNEL_LOCK_ONLY => worker.lockfile = worker.lockfile.kernel_lock_only(),
            ONE_ROUND => rounds = Rounds::One,
            call => refuse(call),
        }
    }
    loop {
        match worker.lockfile.try_lock() {
            Ok(guard) => {
                worker.own(guard);
                if rounds == Rounds::One {
                    return;
                }
            }
            Err(error) if error.is_temporary() => thread::yield_now(),
            Err(error) => worker.report_violation(&format!("try_lock: {error:?}")),
        }
    }
}

struct Worker {
    lockfile: Lockfile,
    /// Opened once and never closed: closing any descriptor of a file frees the process's record locks on it.
    ///
    /// A killed owner must lose the witness no later than the lock, or its successor would be accused.
    /// It does: an exiting process closes its descriptors in the order of their numbers, which frees
    /// record locks there and then (`filp_close`, `locks_remove_posix`), while flock(2) waits for the
    /// last reference to go (`__fput`), which for all of them comes after that, and the witness has
    /// the lower number besides.
    witness: File,
    reports: File,
}

impl Worker {
    fn at(arena: &Arena) -> Worker {
        Worker {
            witness: File::options().read(true).write(true).open(arena.witness()).unwrap(),
            reports: File::options().append(true).open(arena.reports()).unwrap(),
            lockfile: Lockfile::new(arena.lock_path()).unwrap(),
        }
    }

    /// What an owner does: it is alone, its name is on the file, and its step of the count is lost to nobody.
    fn own(&mut self, guard: LockGuard) {
        if let Err(errno) = self.set_witness(libc::F_WRLCK) {
            self.report_violation(&format!("the witness is held by another owner: {errno}"));
        }
        let count = self.count() + 1;
        match self.lockfile.owner() {
            Ok(Some(pid)) if pid == process::id() => {}
            other => self.report_violation(&format!("owner, asked by the owner: {other:?}")),
        }
        // A kill between the two skips a number. Two owners at once give one number twice.
        self.witness.write_all_at(&count.to_ne_bytes(), 0).unwrap();
        self.report(&format!("own {count}"));
        self.set_witness(libc::F_UNLCK).unwrap();
        if count.is_multiple_of(2) {
            if let Err(error) = guard.unlock() {
                self.report_violation(&format!("unlock: {error:?}"));
            }
        } else if let Err(error) = guard.verify() {
            self.report_violation(&format!("verify: {error:?}"));
        }
    }

    fn count(&self) -> u64 {
        let mut bytes = [0; 8];
        self.witness.read_exact_at(&mut bytes, 0).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn set_witness(&self, kind: i32) -> nix::Result<i32> {
        let lock = libc::flock {
            l_type: kind.try_into().unwrap(),
            l_whence: libc::SEEK_SET.try_into().unwrap(),
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&self.witness, FcntlArg::F_SETLK(&lock))
    }

    fn report_violation(&mut self, what: &str) {
        self.report(&format!("violation by {}: {what}", process::id()));
    }

    /// One write: a pipe takes a line that is shorter than `PIPE_BUF` whole or, at a kill, not at all.
    fn report(&mut self, line: &str) {
        let line: String = line.chars().take(1000).chain(['\n']).collect();
        self.reports.write_all(line.as_bytes()).unwrap();
    }
}

/// The count that the owners have come to.
pub fn count_at(witness: &Path) -> u64 {
    u64::from_ne_bytes(std::fs::read(witness).unwrap().try_into().unwrap())
}
