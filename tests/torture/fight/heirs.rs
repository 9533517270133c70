//! Processes that get a killed owner's pid before another process can look at its file.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::chance::random;
use crate::fight::{Fight, LONGEST_GAP, within};
use crate::pids::{pid_of, recycle, send};
use crate::sandbox::{OTHER_USER, record_of, stamp_nanoseconds};
use crate::script;
use crate::witness::count_in;

/// The process that gets a killed owner's pid.
#[derive(Clone, Copy, PartialEq)]
pub enum Heir {
    /// In a pid namespace the next worker, elsewhere no process soon.
    Successor,
    /// A process that does not use the lock, before another process can look at the file.
    Stranger,
    /// A pid-only program, before another process can look at the file: it may write its pid into it.
    Script,
}

impl Heir {
    /// How many live at once. It is already proven that the lock can be taken in spite of the older ones.
    fn most(self) -> usize {
        match self {
            Heir::Successor => 0,
            Heir::Stranger => 100,
            Heir::Script => 3,
        }
    }
}

impl Fight {
    /// Kills the owner, if there is one, and gives its pid to an heir while all workers are stopped. Then a
    /// worker must get the lock.
    pub fn kill_the_owner(&mut self) {
        self.let_the_stopped_one_go_on();
        for worker in &self.workers {
            send(worker, Signal::SIGSTOP);
            let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            waitid(Id::Pid(pid_of(worker)), flags).unwrap();
        }
        let before = count_in(&self.arena);
        let record = fs::read_to_string(self.arena.lock_path()).unwrap_or_default();
        let is_recorded = |worker: &Child| record == record_of(worker.id());
        if let Some(victim) = self.workers.iter().position(is_recorded) {
            let pid = self.workers[victim].id();
            self.workers[victim].kill().unwrap();
            self.workers[victim].wait().unwrap();
            self.kills += 1;
            // Without a stamp the leftover counts as any other program's.
            if is_stamped(&self.arena.lock_path(), pid) {
                recycle(pid);
                let heir = self.new_heir();
                assert_eq!(heir.id(), pid);
                self.inherited += 1;
                self.heirs.push_back(heir);
            } else {
                self.unstamped += 1;
            }
            self.workers[victim] = self.new_worker();
        }
        for worker in &self.workers {
            send(worker, Signal::SIGCONT);
        }
        self.is_stuck = !within(LONGEST_GAP, || count_in(&self.arena) > before);
        self.part_with_heirs();
    }

    fn new_heir(&self) -> Child {
        if self.terms.heir == Heir::Script {
            return script::start(&self.arena);
        }
        let mut stranger = Command::new("sleep");
        stranger.arg("1000");
        if random(2) == 0 {
            stranger.uid(OTHER_USER);
        }
        stranger.spawn().unwrap()
    }

    /// Reaps the heirs that have ended, and kills the oldest if there are too many, wherever they are.
    fn part_with_heirs(&mut self) {
        self.heirs.retain_mut(|heir| heir.try_wait().unwrap().is_none());
        while self.heirs.len() > self.terms.heir.most() {
            let mut oldest = self.heirs.pop_front().unwrap();
            oldest.kill().unwrap();
            oldest.wait().unwrap();
            if self.terms.heir == Heir::Script {
                self.kills += 1;
            }
        }
    }
}

/// Whether the file's modification time is the stamp of a process of ours with this pid.
fn is_stamped(path: &Path, pid: u32) -> bool {
    let nanoseconds = i64::from(stamp_nanoseconds(pid));
    fs::symlink_metadata(path).is_ok_and(|file| file.mtime_nsec() == nanoseconds)
}
