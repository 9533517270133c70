//! How long a released lock stays without an owner, and what waiting costs: prints one table.
//!
//! Owners and waiters are processes: this program run again, which does what it is told over a pipe and
//! answers with the time. `HANDOFF_ROUNDS` (200; 10 in the short form) says how often each way hands its
//! lock over, `HANDOFF_SECONDS` (5; 1) how long the CPU time of the 32 waiters is counted.
//!
//! A word on the command line picks the ways whose names contain it.

mod effort;
mod save;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use pidlockfile::retry::{Jitter, RetryPolicy, acquire_with_retry};
use pidlockfile::{LockGuard, Lockfile};
use serde_json::json;

use crate::effort::is_short;
use crate::save::save;

const WAY_VARIABLE: &str = "HANDOFF_WAY";
const PATH_VARIABLE: &str = "HANDOFF_PATH";
const WAITERS: usize = 32;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Wake,
    Schedule,
    Flock,
    Poll,
}

impl Way {
    const ALL: [Way; 4] = [Way::Wake, Way::Schedule, Way::Flock, Way::Poll];

    fn name(self) -> &'static str {
        match self {
            Way::Wake => "pidlockfile, wake on",
            Way::Schedule => "pidlockfile, wake off",
            Way::Flock => "fslock (blocking flock)",
            Way::Poll => "a poll every 10 ms",
        }
    }

    fn lock(self, path: &Path) -> Held {
        let builder = RetryPolicy::builder().max_elapsed(None).wake_on_release(self == Way::Wake);
        let policy = match self {
            Way::Wake | Way::Schedule => builder,
            Way::Poll => {
                let interval = Duration::from_millis(10);
                builder.multiplier(1.0).max_delay(interval).jitter(Jitter::None)
            }
            Way::Flock => {
                let mut file = fslock::LockFile::open(path).unwrap();
                file.lock().unwrap();
                return Held::Theirs(file);
            }
        };
        let lockfile = Lockfile::new(path).unwrap();
        Held::Ours(acquire_with_retry(&lockfile, &policy.build().unwrap()).unwrap())
    }
}

enum Held {
    Ours(LockGuard),
    Theirs(fslock::LockFile),
}

impl Held {
    fn unlock(self) {
        match self {
            Held::Ours(guard) => guard.unlock().unwrap(),
            Held::Theirs(mut file) => file.unlock().unwrap(),
        }
    }
}

/// `CLOCK_MONOTONIC`, which all processes share.
fn now() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().unwrap().into()
}

/// What the other processes run: lock on one line, unlock on the next, and so on.
fn obey(way: Way) {
    let path = env::var_os(PATH_VARIABLE).unwrap();
    let mut held: Option<Held> = None;
    for _ in io::stdin().lines() {
        let time = if let Some(held) = held.take() {
            let released = now();
            held.unlock();
            released
        } else {
            held = Some(way.lock(Path::new(&path)));
            now()
        };
        println!("{}", time.as_nanos());
    }
}

struct Other {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Other {
    fn new(way: Way, path: &Path) -> Other {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(WAY_VARIABLE, way.name())
            .env(PATH_VARIABLE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Other { child, commands, answers }
    }

    /// Has it lock or unlock, whichever comes next.
    fn tell(&mut self) {
        writeln!(self.commands).unwrap();
    }

    fn answer(&mut self) -> Duration {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        Duration::from_nanos(line.trim().parse().unwrap())
    }

    fn cpu(&self) -> Duration {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        clock_getcpuclockid(pid).unwrap().now().unwrap().into()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Long enough for the schedule to have come to its longest delay or near it, and never in step with it.
fn hold() {
    thread::sleep(Duration::from_millis(200 + u64::from(now().subsec_micros() % 300)));
}

/// The time without an owner, by rounds, sorted.
fn handoffs(way: Way, rounds: usize, kill: bool) -> Vec<Duration> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handoff.pid");
    let mut owner = Other::new(way, &path);
    owner.tell();
    owner.answer();
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let mut waiter = Other::new(way, &path);
            waiter.tell();
            hold();
            let released = if kill {
                let killed = now();
                owner.child.kill().unwrap();
                killed
            } else {
                owner.tell();
                owner.answer()
            };
            let acquired = waiter.answer();
            owner = waiter;
            acquired.saturating_sub(released)
        })
        .collect();
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// What the waiters for a held lock cost.
fn cpu_of_waiters(way: Way, seconds: u64) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handoff.pid");
    let mut owner = Other::new(way, &path);
    owner.tell();
    owner.answer();
    let mut waiters: Vec<_> = (0..WAITERS).map(|_| Other::new(way, &path)).collect();
    waiters.iter_mut().for_each(Other::tell);
    thread::sleep(Duration::from_secs(1));
    let cpu = || waiters.iter().map(Other::cpu).sum::<Duration>();
    let before = cpu();
    thread::sleep(Duration::from_secs(seconds));
    cpu().saturating_sub(before)
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn main() {
    if let Ok(name) = env::var(WAY_VARIABLE) {
        return obey(Way::ALL.into_iter().find(|way| way.name() == name).unwrap());
    }
    let (rounds, seconds) = if is_short() { (10, 1) } else { (200, 5) };
    let rounds = usize::try_from(number("HANDOFF_ROUNDS", rounds)).unwrap();
    let seconds = number("HANDOFF_SECONDS", seconds);
    let mut rows = Vec::new();
    println!("{rounds} rounds, {WAITERS} waiters");
    println!(
        "| {:23} | {:>11} | {:>11} | {:>10} | {:>13} |",
        "",
        "release p50",
        "release p99",
        "killed p50",
        format!("CPU in {seconds} s")
    );
    println!(
        "|{}|{}:|{1}:|{}:|{}:|",
        "-".repeat(25),
        "-".repeat(12),
        "-".repeat(11),
        "-".repeat(14)
    );
    let wanted = |way: &Way| match env::args().skip(1).find(|arg| !arg.starts_with('-')) {
        Some(part) => way.name().contains(&part),
        None => true,
    };
    for way in Way::ALL.into_iter().filter(wanted) {
        let released = handoffs(way, rounds, false);
        let killed = handoffs(way, rounds, true);
        println!(
            "| {:23} | {:>11.1?} | {:>11.1?} | {:>10.1?} | {:>13.1?} |",
            way.name(),
            percentile(&released, 50),
            percentile(&released, 99),
            percentile(&killed, 50),
            cpu_of_waiters(way, seconds),
        );
        let median = u64::try_from(percentile(&released, 50).as_nanos()).unwrap();
        rows.push(json!({ "name": way.name(), "median_ns": median }));
    }
    save("handoff", &json!({ "bench": "handoff", "rows": rows }));
}
