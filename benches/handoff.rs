//! How long a released lock stays without an owner, and what waiting costs: prints one table.
//!
//! Owners and waiters are processes of their own. In the hand-overs all ways take turns, round by round; then,
//! way by way, a crowd of 64 that has waited for the lock takes ten turns of 1 ms each, and 32 waiters for a held
//! lock show what CPU time they take. `HANDOFF_ROUNDS` (200; 10 in the short form) says how often each way hands
//! its lock over, `HANDOFF_SECONDS` (5; 1) how long the 32 wait.
//!
//! A word on the command line picks the ways whose names contain it.

mod calls;
mod effort;
mod place;
mod process;
mod relay;
mod save;
mod ways;

use std::path::PathBuf;
use std::time::Duration;
use std::{env, thread};

use serde_json::{Map, json};

use crate::effort::is_short;
use crate::place::Place;
use crate::process::{LOCK, Process, TAKE_TURNS, UNLOCK, now};
use crate::save::save;
use crate::ways::Way;

const WAITERS: usize = 32;
const CROWD: usize = 64;

/// What is printed at the top, and what it is called in the JSON.
const COLUMNS: [(&str, &str); 6] = [
    ("release p50", "median_ns"),
    ("release p99", "p99_ns"),
    ("killed p50", "killed_ns"),
    ("CPU, waiting", "cpu_ns"),
    ("crowd", "crowd_ns"),
    ("CPU, crowd", "crowd_cpu_ns"),
];

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
        let path = place.path_for(way.name());
        Chain { way, owner: Process::owning(way, &path), path }
    }

    /// The time without an owner.
    fn hand_over(&mut self, kill: bool) -> Duration {
        let mut waiter = Process::new(self.way, &self.path);
        waiter.tell(LOCK);
        hold();
        let released = if kill {
            self.owner.kill()
        } else {
            self.owner.tell(UNLOCK);
            self.owner.answer()
        };
        let acquired = waiter.answer();
        self.owner = waiter;
        acquired.saturating_sub(released)
    }
}

/// What the waiters for a held lock cost.
fn cpu_of_waiters(way: Way, place: &Place, seconds: u64) -> Duration {
    let path = place.path_for("held");
    let _owner = way.locks().then(|| Process::owning(way, &path));
    let mut waiters: Vec<_> = (0..WAITERS).map(|_| Process::new(way, &path)).collect();
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
    let mut owner = Process::owning(way, &path);
    let mut others: Vec<_> = (0..CROWD).map(|_| Process::new(way, &path)).collect();
    for other in &mut others {
        other.tell(TAKE_TURNS);
    }
    thread::sleep(Duration::from_secs(1));
    let before = cpu(&others);
    owner.tell(UNLOCK);
    let released = owner.answer();
    let done = others.iter_mut().map(Process::answer).max().unwrap();
    (done.saturating_sub(released), cpu(&others).saturating_sub(before))
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn main() {
    if let Some(way) = process::way() {
        return process::obey(way);
    }
    let (rounds, seconds) = if is_short() { (10, 1) } else { (200, 5) };
    let rounds = usize::try_from(number("HANDOFF_ROUNDS", rounds)).unwrap();
    let seconds = number("HANDOFF_SECONDS", seconds);
    let part = env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let ways: Vec<_> = Way::ALL.into_iter().filter(|way| way.name().contains(&part)).collect();
    let place = Place::disk();
    println!("{rounds} rounds on {}, {WAITERS} waiters for {seconds} s", place.file_system);

    let released = hand_over(&ways, Way::locks, &place, rounds, false);
    let killed = hand_over(&ways, Way::takes_over, &place, rounds, true);
    print_row("", COLUMNS.map(|(heading, _)| heading.to_owned()));
    println!("|{}|{}", "-".repeat(32), "-------------:|".repeat(COLUMNS.len()));
    let mut rows = Vec::new();
    for ((&way, released), killed) in ways.iter().zip(&released).zip(&killed) {
        let crowd = way.takes_over().then(|| crowd(way, &place));
        let times = [
            percentile(released, 50),
            percentile(released, 99),
            percentile(killed, 50),
            way.works_while_waiting().then(|| cpu_of_waiters(way, &place, seconds)),
            crowd.map(|(time, _)| time),
            crowd.map(|(_, cpu)| cpu),
        ];
        print_row(way.name(), times.map(text));
        let mut row = Map::from_iter([("name".to_owned(), way.name().into())]);
        row.extend(COLUMNS.iter().zip(times).map(|((_, key), time)| {
            let nanoseconds = time.map(|time| u64::try_from(time.as_nanos()).unwrap());
            ((*key).to_owned(), nanoseconds.into())
        }));
        rows.push(row);
    }
    let file_system = &place.file_system;
    let results = json!({
        "bench": "handoff", "place": file_system, "rounds": rounds, "seconds": seconds, "rows": rows
    });
    save("handoff", &results);
}

/// For each way the times without an owner, sorted; none for those that cannot.
fn hand_over(
    ways: &[Way],
    can: fn(Way) -> bool,
    place: &Place,
    rounds: usize,
    kill: bool,
) -> Vec<Vec<Duration>> {
    let mut chains: Vec<_> =
        ways.iter().map(|&way| can(way).then(|| Chain::new(way, place))).collect();
    let mut times = vec![Vec::new(); ways.len()];
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

fn text(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| format!("{time:.1?}"))
}

fn print_row(name: &str, columns: [String; COLUMNS.len()]) {
    print!("| {name:30} |");
    for column in columns {
        print!(" {column:>12} |");
    }
    println!();
}
