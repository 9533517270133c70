//! How long a released lock stays without an owner, and what waiting costs.
//!
//! Owners and waiters are processes of their own. In the hand-overs all ways take turns, round by round; then,
//! way by way, a crowd of 64 that has waited for the lock takes ten turns of 1 ms each, and 32 waiters for a held
//! lock show what CPU time they take. `HANDOFF_ROUNDS` (200; 10 in the short form) says how often each way hands
//! its lock over, `HANDOFF_SECONDS` (5; 1) how long the 32 wait.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io, thread};

use nix::time::ClockId;
use serde_json::{Value, json};

use crate::again::Process;
use crate::is_short;
use crate::place::Place;
use crate::ways::{Release, WAYS, Way};

const WAITERS: usize = 32;
const CROWD: usize = 64;

/// So often each of a crowd takes the lock, and so long it keeps it.
const TURNS: u32 = 10;
const TURN: Duration = Duration::from_millis(1);

const LOCK: &str = "lock";
const UNLOCK: &str = "unlock";
const TAKE_TURNS: &str = "take turns";

/// `CLOCK_MONOTONIC`, which all processes share.
fn now() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().unwrap().into()
}

/// The part of an owner or a waiter: each line is a command, and each answer a time.
pub fn obey(words: &[String]) {
    let [name, path] = words else { panic!("{words:?}") };
    let way = WAYS.into_iter().find(|way| way.name == name).unwrap();
    let path = Path::new(path);
    let mut held: Option<Release> = None;
    for line in io::stdin().lines() {
        let time = match line.unwrap().as_str() {
            LOCK => {
                held = Some((way.lock)(path));
                now()
            }
            UNLOCK => {
                let released = now();
                held.take().unwrap()();
                released
            }
            TAKE_TURNS => {
                for _ in 0..TURNS {
                    let release = (way.lock)(path);
                    thread::sleep(TURN);
                    release();
                }
                now()
            }
            unknown => panic!("no such command: {unknown}"),
        };
        println!("{}", time.as_nanos());
    }
}

fn start(way: Way, path: &Path) -> Process {
    Process::start("hand-over", &[way.name, path.to_str().unwrap()])
}

fn start_owner(way: Way, path: &Path) -> Process {
    let mut owner = start(way, path);
    owner.tell(LOCK);
    time_from(&mut owner);
    owner
}

fn time_from(process: &mut Process) -> Duration {
    Duration::from_nanos(process.answer().parse().unwrap())
}

/// Long enough for the schedule to have come to its longest delay or near it, and never in step with it.
fn hold() {
    thread::sleep(Duration::from_millis(200 + u64::from(now().subsec_micros() % 300)));
}

/// A lock that goes from process to process.
struct Chain {
    way: Way,
    path: PathBuf,
    owner: Process,
}

impl Chain {
    fn new(way: Way, place: &Place) -> Chain {
        let path = place.path_for(way.name);
        Chain { way, owner: start_owner(way, &path), path }
    }

    /// The time without an owner.
    fn hand_over(&mut self, kill: bool) -> Duration {
        let mut waiter = start(self.way, &self.path);
        waiter.tell(LOCK);
        hold();
        let released = if kill {
            let killed = now();
            self.owner.kill();
            killed
        } else {
            self.owner.tell(UNLOCK);
            time_from(&mut self.owner)
        };
        let acquired = time_from(&mut waiter);
        self.owner = waiter;
        acquired.saturating_sub(released)
    }
}

/// What the waiters for a held lock cost.
fn cpu_of_waiters(way: Way, place: &Place, seconds: u64) -> Duration {
    let path = place.path_for("held");
    let _owner = way.locks.then(|| start_owner(way, &path));
    let mut waiters: Vec<_> = (0..WAITERS).map(|_| start(way, &path)).collect();
    for waiter in &mut waiters {
        waiter.tell(LOCK);
    }
    thread::sleep(Duration::from_secs(1));
    let before = cpu(&waiters);
    thread::sleep(Duration::from_secs(seconds));
    cpu(&waiters).saturating_sub(before)
}

fn cpu(others: &[Process]) -> Duration {
    others.iter().map(Process::cpu).sum()
}

/// How long a crowd takes that has waited for one lock, until each has had its turns, and what that costs.
fn crowd(way: Way, place: &Place) -> (Duration, Duration) {
    let path = place.path_for("crowd");
    let mut owner = start_owner(way, &path);
    let mut others: Vec<_> = (0..CROWD).map(|_| start(way, &path)).collect();
    for other in &mut others {
        other.tell(TAKE_TURNS);
    }
    thread::sleep(Duration::from_secs(1));
    let before = cpu(&others);
    owner.tell(UNLOCK);
    let released = time_from(&mut owner);
    let done = others.iter_mut().map(time_from).max().unwrap();
    (done.saturating_sub(released), cpu(&others).saturating_sub(before))
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

pub fn measure() -> Value {
    let (rounds, seconds) = if is_short() { (10, 1) } else { (200, 5) };
    let rounds = number("HANDOFF_ROUNDS", rounds);
    let seconds = number("HANDOFF_SECONDS", seconds);
    let place = Place::disk();
    let released = hand_over(|way| way.locks, &place, rounds, false);
    let killed = hand_over(|way| way.takes_over, &place, rounds, true);
    let rows = WAYS.iter().zip(&released).zip(&killed).map(|((&way, released), killed)| {
        let crowd = way.takes_over.then(|| crowd(way, &place));
        let cpu = way.works_while_waiting.then(|| cpu_of_waiters(way, &place, seconds));
        json!({
            "name": way.name,
            "median_ns": nanoseconds(percentile(released, 50)),
            "p99_ns": nanoseconds(percentile(released, 99)),
            "killed_ns": nanoseconds(percentile(killed, 50)),
            "cpu_ns": nanoseconds(cpu),
            "crowd_ns": nanoseconds(crowd.map(|(time, _)| time)),
            "crowd_cpu_ns": nanoseconds(crowd.map(|(_, cpu)| cpu)),
        })
    });
    let rows: Vec<Value> = rows.collect();
    json!({ "place": place.file_system, "rounds": rounds, "seconds": seconds, "rows": rows })
}

/// For each way the times without an owner, sorted; none for those that cannot.
fn hand_over(can: fn(Way) -> bool, place: &Place, rounds: u64, kill: bool) -> Vec<Vec<Duration>> {
    let mut chains = WAYS.map(|way| can(way).then(|| Chain::new(way, place)));
    let mut times = vec![Vec::new(); WAYS.len()];
    for _ in 0..rounds {
        for (chain, times) in chains.iter_mut().zip(&mut times) {
            times.extend(chain.as_mut().map(|chain| chain.hand_over(kill)));
        }
    }
    for times in &mut times {
        times.sort();
    }
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied()
}

fn nanoseconds(time: Option<Duration>) -> Option<u64> {
    time.map(|time| time.as_nanos().try_into().expect("no run lasts for centuries"))
}
