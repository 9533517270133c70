//! The fight itself: starts the workers, does them harm, and reads out the result.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::statfs::{self, statfs};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, mkfifo};

use crate::referee::{Referee, Tally};
use crate::sandbox::{DEAD_PID, record_of};
use crate::worker::{self, Arena, Rounds, Rules};

/// More than there are processors on most machines that run this, so that they are interrupted anywhere.
const WORKERS: usize = 6;

/// No step of the protocol waits, and no worker is stopped for longer than a few milliseconds: what is
/// seen is milliseconds. A lock that is stuck stays so for ever. In between lies what a loaded machine
/// may need to run a process at all.
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// Runs a fight in a directory of its own inside `dir`, and expects that nobody overlapped.
pub fn fight(dir: &Path, rules: Rules, duration: Duration) {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let mut fight = Fight::prepare(Arena { dir: dir.path().to_owned() }, rules);
    let referee = Referee::at(&fight.arena.reports());
    let started = Instant::now();
    fight.start_workers();
    while !referee.has_seen_enough() && (started.elapsed() < duration || fight.kills == 0) {
        fight.do_harm();
        // Chance decides whom it meets and where. The time only bounds how often.
        thread::sleep(Duration::from_micros(random(200)));
    }
    fight.let_the_stopped_one_go_on();
    let goes_on = fight.goes_on();
    let fought = started.elapsed();
    fight.kill_all();
    // Whoever comes next gets the lock, and clears up after the dead.
    let is_free = fight.is_free();
    let tally = referee.close();
    fight.read_out(&tally, fought);
    fight.judge(&tally, goes_on, is_free);
}

struct Fight {
    arena: Arena,
    rules: Rules,
    workers: Vec<Child>,
    stopped: Option<usize>,
    /// Killed and not reaped yet, so a zombie.
    corpse: Option<Child>,
    zombie: Child,
    /// In a pid namespace with another one's /proc, nothing tells a zombie from a live process.
    zombies_are_told: bool,
    kills: u64,
    stops: u64,
    planted: u64,
}

impl Fight {
    fn prepare(arena: Arena, rules: Rules) -> Fight {
        fs::create_dir(arena.lock_dir()).unwrap();
        fs::write(arena.witness(), 0_u64.to_ne_bytes()).unwrap();
        mkfifo(&arena.reports(), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let zombie = Command::new("true").spawn().unwrap();
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(pid_of(&zombie)), flags).unwrap();
        let own = fs::read_link("/proc/self").unwrap_or_default();
        let zombies_are_told = own == Path::new(&process::id().to_string());
        let (workers, stopped, corpse) = (Vec::new(), None, None);
        let (kills, stops, planted) = (0, 0, 0);
        Fight {
            arena,
            rules,
            workers,
            stopped,
            corpse,
            zombie,
            zombies_are_told,
            kills,
            stops,
            planted,
        }
    }

    fn start_workers(&mut self) {
        self.plant();
        for index in 0..WORKERS {
            recycle(namespaced_pid(index));
            self.workers.push(worker::start(&self.arena, self.rules, Rounds::Endless));
        }
    }

    fn do_harm(&mut self) {
        let victim = random_index(WORKERS);
        match random(50) {
            0 => self.kill(victim),
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

    /// Kills a worker, stopped or not, and sends another into the fight.
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
        let successor = worker::start(&self.arena, self.rules, Rounds::Endless);
        self.corpse = Some(std::mem::replace(&mut self.workers[victim], successor));
    }

    fn reap_the_corpse(&mut self) {
        if let Some(mut corpse) = self.corpse.take() {
            corpse.wait().unwrap();
        }
    }

    fn kill_all(&mut self) {
        for worker in &mut self.workers {
            worker.kill().unwrap();
            self.kills += 1;
        }
        self.reap_the_corpse();
        for worker in &mut self.workers {
            worker.wait().unwrap();
        }
    }

    /// Whether one more of those who fight gets the lock. The count tells it, since reports may lie unread.
    fn goes_on(&self) -> bool {
        let count = || worker::count_at(&self.arena.witness());
        let before = count();
        within(LONGEST_GAP, || count() > before)
    }

    /// Whether a new one gets the lock.
    fn is_free(&self) -> bool {
        recycle(namespaced_pid(0));
        let mut last = worker::start(&self.arena, self.rules, Rounds::One);
        let got_it = within(LONGEST_GAP, || last.try_wait().unwrap().is_some());
        let _ = last.kill();
        last.wait().unwrap().success() && got_it
    }

    /// Puts a stale file in place as only a careful outsider does: complete, and if the name is free.
    fn plant(&mut self) {
        let prepared = self.arena.dir.join("prepared");
        fs::write(&prepared, self.stale_record()).unwrap();
        for _ in 0..100 {
            match fs::hard_link(&prepared, self.arena.lock_path()) {
                Ok(()) => {
                    self.planted += 1;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{error}"),
            }
        }
        fs::remove_file(prepared).unwrap();
    }

    fn stale_record(&self) -> String {
        match random(5) {
            0 => String::new(),
            1 => "garbage".to_owned(),
            // Its own pid for one of them, a live process for all the others.
            2 if !self.workers.is_empty() => record_of(self.workers[random_index(WORKERS)].id()),
            3 if self.zombies_are_told => record_of(self.zombie.id()),
            _ => record_of(DEAD_PID),
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.arena.lock_dir()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// On the real standard error, which the test harness does not capture.
    fn read_out(&self, tally: &Tally, fought: Duration) {
        let policy =
            if self.rules.kernel_lock_only { "kernel lock only" } else { "default policy" };
        let publishing =
            if self.rules.refused.is_empty() { "unnamed temporary" } else { "named temporary" };
        let namespace = if process::id() == 1 { ", pid namespace" } else { "" };
        let line = format!(
            "TORTURE {policy}, {publishing}, {}{namespace}, {:.1} s: {} acquisitions, {} kills, {} stops, \
             {} planted; violations {}, lost updates {}, longest gap {} ms, leftover files {}\n",
            file_system(&self.arena.dir),
            fought.as_secs_f64(),
            tally.acquisitions,
            self.kills,
            self.stops,
            self.planted,
            tally.violations.len(),
            tally.lost_updates,
            tally.longest_gap.as_millis(),
            self.leftovers().len(),
        );
        io::stderr().write_all(line.as_bytes()).unwrap();
    }

    fn judge(&self, tally: &Tally, goes_on: bool, is_free: bool) {
        let count = worker::count_at(&self.arena.witness());
        let missing = tally.missing + count.saturating_sub(tally.highest);
        assert_eq!(tally.violations.first(), None);
        assert_eq!(tally.lost_updates, 0);
        assert!(missing <= self.kills, "{missing} steps missing after {} kills", self.kills);
        assert!(
            goes_on && is_free,
            "stuck: goes on {goes_on}, free after all were killed {is_free}"
        );
        assert!(tally.longest_gap < LONGEST_GAP, "{:?}", tally.longest_gap);
        assert_eq!(self.leftovers(), Vec::<String>::new());
        assert!(tally.acquisitions > 0 && self.kills > 0 && self.planted > 0);
    }
}

impl Drop for Fight {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain(&mut self.corpse).chain([&mut self.zombie]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether this comes true in time. The sleep orders nothing: what is awaited stays true.
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

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn send(child: &Child, signal: Signal) {
    kill(pid_of(child), signal).unwrap();
}

/// The pid of a worker in a pid namespace, and of its successors.
///
/// They are so far apart that the threads of one have none that a dead one had: with the /proc of another
/// namespace, nothing tells a mere thread from a live process.
fn namespaced_pid(index: usize) -> u32 {
    100 + 10 * u32::try_from(index).unwrap()
}

/// Has the next process get this pid, which is free. Another pid namespace is left alone.
fn recycle(pid: u32) {
    if process::id() == 1 {
        let mut file = File::options().write(true).open("/proc/sys/kernel/ns_last_pid").unwrap();
        file.write_all((pid - 1).to_string().as_bytes()).unwrap();
    }
}

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

fn random_index(below: usize) -> usize {
    usize::try_from(random(below as u64)).unwrap()
}

fn file_system(dir: &Path) -> String {
    match statfs(dir).unwrap().filesystem_type() {
        statfs::TMPFS_MAGIC => "tmpfs".to_owned(),
        statfs::EXT4_SUPER_MAGIC => "ext4".to_owned(),
        statfs::XFS_SUPER_MAGIC => "xfs".to_owned(),
        statfs::BTRFS_SUPER_MAGIC => "btrfs".to_owned(),
        statfs::OVERLAYFS_SUPER_MAGIC => "overlayfs".to_owned(),
        other => format!("{other:?}"),
    }
}
