//! The fight itself: starts the workers, harms them, and checks that they go on.

mod heirs;
mod plant;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::{self, Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

pub use heirs::Heir;

use crate::arena::Arena;
use crate::chance::{random, random_index};
use crate::pids::{namespaced_pid, pid_of, recycle, send};
use crate::referee::Referee;
use crate::sandbox::names_in;
use crate::verdict::Verdict;
use crate::witness::count_in;
use crate::worker::{self, Rounds, Rules};

/// More than most machines have processors, so that workers are interrupted anywhere.
pub const WORKERS: usize = 6;

/// No step of the protocol waits, and a worker is stopped for a few milliseconds at most, so a normal gap is
/// milliseconds. A stuck lock stays stuck for ever. The bound is in between: a loaded machine may take long to
/// run a process at all.
pub const LONGEST_GAP: Duration = Duration::from_secs(10);

/// The conditions of a fight.
#[derive(Clone, Copy)]
pub struct Terms {
    pub rules: Rules,
    pub kills: bool,
    pub heir: Heir,
}

/// Runs a fight in a new directory inside `dir`, and checks that no two owners overlapped.
pub fn fight(dir: &Path, terms: Terms, duration: Duration) {
    let (arena, _dirs) = Arena::prepare(dir);
    let mut fight = Fight::prepare(arena, terms);
    let referee = Referee::at(&fight.arena.reports());
    let started = Instant::now();
    fight.start_workers();
    let over = |fight: &Fight| {
        started.elapsed() > duration && (fight.kills > 0 || !terms.kills) && fight.planted > 0
    };
    while !(referee.has_seen_enough() || fight.is_stuck || over(&fight)) {
        fight.do_harm();
        // Chance decides which worker is harmed, and where. The time only limits how often.
        thread::sleep(Duration::from_micros(random(200)));
    }
    fight.let_the_stopped_one_go_on();
    let goes_on = !fight.is_stuck && fight.goes_on();
    let fought = started.elapsed();
    fight.kill_all();
    // The next process gets the lock, and cleans up after the dead.
    let is_free = goes_on && fight.is_free();
    let tally = referee.close();
    let verdict = Verdict { fight: &fight, tally, fought, goes_on, is_free };
    verdict.print();
    verdict.judge();
}

pub struct Fight {
    pub arena: Arena,
    pub terms: Terms,
    workers: Vec<Child>,
    stopped: Option<usize>,
    /// Killed and not reaped yet, so a zombie.
    corpse: Option<Child>,
    zombie: Child,
    heirs: VecDeque<Child>,
    /// In a pid namespace with another namespace's /proc, nothing distinguishes a zombie from a live process.
    zombies_are_told: bool,
    is_stuck: bool,
    pub kills: u64,
    pub stops: u64,
    pub planted: u64,
    /// Owners whose pid went to a stranger or a script before another process could look.
    pub inherited: u64,
    /// Recorded workers that were killed before they set their stamp: between record and stamp, as only
    /// exclusive creation allows, or with the pid of a script that had left that record.
    pub unstamped: u64,
}

impl Fight {
    fn prepare(arena: Arena, terms: Terms) -> Fight {
        let zombie = Command::new("true").spawn().unwrap();
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(pid_of(&zombie)), flags).unwrap();
        let own = fs::read_link("/proc/self").unwrap_or_default();
        let zombies_are_told = own == Path::new(&process::id().to_string());
        let (workers, stopped, corpse, heirs) = (Vec::new(), None, None, VecDeque::new());
        let (is_stuck, kills, stops, planted, inherited, unstamped) = (false, 0, 0, 0, 0, 0);
        Fight {
            arena,
            terms,
            workers,
            stopped,
            corpse,
            zombie,
            heirs,
            zombies_are_told,
            is_stuck,
            kills,
            stops,
            planted,
            inherited,
            unstamped,
        }
    }

    fn start_workers(&mut self) {
        self.plant();
        for index in 0..WORKERS {
            recycle(namespaced_pid(index));
            self.workers.push(self.new_worker());
        }
    }

    fn new_worker(&self) -> Child {
        worker::start(&self.arena, self.terms.rules, Rounds::Endless)
    }

    fn do_harm(&mut self) {
        let victim = random_index(WORKERS);
        match random(50) {
            0 if !self.terms.kills => self.plant(),
            0 if self.terms.heir == Heir::Successor => self.kill(victim),
            0 => self.kill_the_owner(),
            1..12 => {
                self.let_the_stopped_one_go_on();
                send(&self.workers[victim], Signal::SIGSTOP);
                self.stopped = Some(victim);
                self.stops += 1;
            }
            12..24 => self.let_the_stopped_one_go_on(),
            _ => self.plant(),
        }
    }

    fn let_the_stopped_one_go_on(&mut self) {
        if let Some(stopped) = self.stopped.take() {
            send(&self.workers[stopped], Signal::SIGCONT);
        }
    }

    /// Kills a worker, stopped or not, and starts another.
    fn kill(&mut self, victim: usize) {
        self.workers[victim].kill().unwrap();
        self.kills += 1;
        if self.stopped == Some(victim) {
            self.stopped = None;
        }
        self.reap_the_corpse();
        if !self.zombies_are_told {
            self.workers[victim].wait().unwrap();
            recycle(self.workers[victim].id());
        }
        let successor = self.new_worker();
        self.corpse = Some(std::mem::replace(&mut self.workers[victim], successor));
    }

    fn reap_the_corpse(&mut self) {
        if let Some(mut corpse) = self.corpse.take() {
            corpse.wait().unwrap();
        }
    }

    /// Strangers stay: the next process must get the lock in spite of them.
    fn kill_all(&mut self) {
        let scripts = if self.terms.heir == Heir::Script {
            self.heirs.drain(..)
        } else {
            self.heirs.drain(..0)
        };
        let mut all: Vec<Child> = self.workers.drain(..).chain(scripts).collect();
        for child in &mut all {
            child.kill().unwrap();
            self.kills += 1;
        }
        self.reap_the_corpse();
        for child in &mut all {
            child.wait().unwrap();
        }
    }

    /// Whether another worker gets the lock. The count shows it, because reports may still be unread.
    fn goes_on(&self) -> bool {
        let before = count_in(&self.arena);
        within(LONGEST_GAP, || count_in(&self.arena) > before)
    }

    /// Whether a new worker gets the lock.
    fn is_free(&self) -> bool {
        if self.terms.heir == Heir::Successor {
            recycle(namespaced_pid(0));
        }
        let mut last = worker::start(&self.arena, self.terms.rules, Rounds::One);
        let got_it = within(LONGEST_GAP, || last.try_wait().unwrap().is_some());
        let _ = last.kill();
        last.wait().unwrap().success() && got_it
    }

    pub fn leftovers(&self) -> Vec<String> {
        names_in(&self.arena.lock_dir())
    }
}

impl Drop for Fight {
    fn drop(&mut self) {
        let children = self.workers.iter_mut().chain(&mut self.corpse).chain(&mut self.heirs);
        for child in children.chain([&mut self.zombie]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether this becomes true in time. The sleep orders nothing: the condition stays true.
fn within(bound: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_true() {
        if started.elapsed() > bound {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}
