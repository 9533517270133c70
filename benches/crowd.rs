//! Processes that all want one lock.

use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::retry::RetryPolicy;

use crate::again::Process;
use crate::candidates::Attempt;
use crate::contended::candidates;
use crate::tally::Tally;

/// What a waiting process does between two attempts.
#[derive(Clone, Copy, PartialEq)]
pub enum Waiting {
    /// Gives way to others, and tries again.
    Spinning,
    /// Sleeps as the default policy says.
    Policy,
}

impl Waiting {
    pub fn name(self) -> &'static str {
        match self {
            Waiting::Spinning => "spinning",
            Waiting::Policy => "default policy",
        }
    }
}

pub struct Crowd {
    pub processes: u32,
    pub waiting: Waiting,
    /// Whether owners kill themselves now and then.
    pub kills: bool,
    pub lasts: Duration,
}

/// What came of one or more runs.
#[derive(Default)]
pub struct Outcome {
    /// How often each process got the lock.
    acquired: Vec<u64>,
    counted: u64,
    pub kills: u32,
    pub longest_wait: Duration,
    lasted: Duration,
    fairness: Vec<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.acquired.extend(&other.acquired);
        self.counted += other.counted;
        self.kills += other.kills;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.lasted += other.lasted;
        self.fairness.push(other.jain());
    }

    pub fn acquisitions(&self) -> u64 {
        self.acquired.iter().sum()
    }

    pub fn per_second(&self) -> f64 {
        self.acquisitions() as f64 / self.lasted.as_secs_f64()
    }

    /// Additions that another one has overwritten.
    pub fn lost(&self) -> u64 {
        self.acquisitions() - self.counted
    }

    /// Jain's index: 1 if all got the lock equally often, 1/n if one got it always. The mean of the runs.
    pub fn jain(&self) -> f64 {
        if !self.fairness.is_empty() {
            return self.fairness.iter().sum::<f64>() / self.fairness.len() as f64;
        }
        let sum = self.acquisitions() as f64;
        let squares: f64 = self.acquired.iter().map(|&count| (count as f64).powi(2)).sum();
        if squares > 0.0 { sum * sum / (self.acquired.len() as f64 * squares) } else { 0.0 }
    }
}

impl Crowd {
    pub fn run(&self, candidate: &str, path: &Path) -> Outcome {
        let directory = path.parent().unwrap();
        std::fs::remove_dir_all(directory).unwrap();
        std::fs::create_dir(directory).unwrap();
        let tally = Tally::create(directory, self.processes);
        let members: Vec<Process> =
            (0..self.processes).map(|slot| self.start(candidate, path, slot)).collect();
        let started = Instant::now();
        let kills = AtomicU32::new(0);
        thread::scope(|scope| {
            for (slot, mut member) in (0..).zip(members) {
                let kills = &kills;
                scope.spawn(move || {
                    // The end of its input sets it off. Reaped at once: to some a zombie is alive.
                    while member.end().signal() == Some(libc::SIGKILL) {
                        kills.fetch_add(1, Ordering::Relaxed);
                        let Some(left) = self.lasts.checked_sub(started.elapsed()) else {
                            break;
                        };
                        member = Crowd { lasts: left, ..*self }.start(candidate, path, slot);
                    }
                });
            }
        });
        Outcome {
            acquired: (0..self.processes).map(|slot| tally.acquired(slot)).collect(),
            counted: tally.count(),
            kills: kills.into_inner(),
            longest_wait: (0..self.processes).map(|slot| tally.longest_wait(slot)).max().unwrap(),
            lasted: self.lasts,
            fairness: Vec::new(),
        }
    }

    fn start(&self, candidate: &str, path: &Path, slot: u32) -> Process {
        let (slot, milliseconds) = (slot.to_string(), self.lasts.as_millis().to_string());
        let (waiting, kills) = (self.waiting.name(), self.kills.to_string());
        let path = path.to_str().unwrap();
        Process::start("contend", &[candidate, path, &slot, &milliseconds, waiting, &kills])
    }
}

/// A member's part.
pub fn contend(words: &[String]) {
    let [name, path, slot, milliseconds, waiting, kills] = words else { panic!("{words:?}") };
    let candidate = candidates().find(|candidate| candidate.name == name).unwrap();
    let path = Path::new(path);
    let member = Member {
        attempt: (candidate.at)(path),
        tally: Tally::open(path.parent().unwrap()),
        slot: slot.parse().unwrap(),
        kills: kills == "true",
    };
    let lasts = Duration::from_millis(milliseconds.parse().unwrap());
    let _ = io::stdin().read(&mut [0]); // all set off together
    let deadline = Instant::now() + lasts;
    while Instant::now() < deadline {
        if waiting == Waiting::Policy.name() {
            member.acquire_by_policy(deadline);
        } else {
            member.acquire_spinning(deadline);
        }
    }
}

struct Member {
    attempt: Attempt,
    tally: Tally,
    slot: u32,
    kills: bool,
}

impl Member {
    fn acquire_spinning(&self, deadline: Instant) {
        let started = Instant::now();
        while !self.attempt(started) {
            if Instant::now() >= deadline {
                // A wait that does not end counts as well.
                return self.tally.waited(self.slot, started.elapsed());
            }
            thread::yield_now();
        }
    }

    fn acquire_by_policy(&self, deadline: Instant) {
        let started = Instant::now();
        let policy = RetryPolicy::default().with_max_elapsed(deadline - started);
        let busy = || io::Error::from(io::ErrorKind::WouldBlock);
        let run = policy.run().call(|| self.attempt(started).then_some(()).ok_or_else(busy));
        if run.is_err() {
            self.tally.waited(self.slot, started.elapsed());
        }
    }

    fn attempt(&self, started: Instant) -> bool {
        (self.attempt)(&mut || {
            self.tally.waited(self.slot, started.elapsed());
            // In the stress test others get their chance to come in where they should not.
            let acquired = self.tally.add_one(self.slot, self.kills);
            if self.kills && acquired.is_multiple_of(50) {
                // SAFETY: takes a number, and ends this process at once.
                unsafe { libc::raise(libc::SIGKILL) };
            }
        })
    }
}
