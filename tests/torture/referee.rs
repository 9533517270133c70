//! Reads the reports of all owners, and counts what must not happen.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const END: &str = "end";

pub struct Referee {
    tally: Arc<Mutex<Tally>>,
    listener: JoinHandle<()>,
    reports: File,
}

#[derive(Clone, Default)]
pub struct Tally {
    pub acquisitions: u64,
    /// How many of them were by a script.
    pub by_scripts: u64,
    /// The highest number that an owner has reported.
    pub highest: u64,
    /// Numbers that no owner has reported: the owner was killed first, or its step was lost.
    pub missing: u64,
    /// Numbers that were reported a second time.
    pub lost_updates: u64,
    pub violations: Vec<String>,
    pub longest_gap: Duration,
    latest: Option<Instant>,
}

impl Referee {
    /// Reads from this fifo.
    pub fn at(fifo: &Path) -> Referee {
        // Open for reading and writing: otherwise open(2) would wait for the first worker here, and reading
        // would end with the last.
        let reports = File::options().read(true).write(true).open(fifo).unwrap();
        let lines = BufReader::new(reports.try_clone().unwrap()).lines();
        let started = Tally { latest: Some(Instant::now()), ..Tally::default() };
        let tally = Arc::new(Mutex::new(started));
        let listener = thread::spawn({
            let tally = Arc::clone(&tally);
            move || {
                for line in lines.map(Result::unwrap).take_while(|line| line != END) {
                    tally.lock().unwrap().take_down(&line);
                }
            }
        });
        Referee { tally, listener, reports }
    }

    pub fn has_seen_enough(&self) -> bool {
        let tally = self.tally.lock().unwrap();
        !tally.violations.is_empty() || tally.lost_updates > 0
    }

    /// Reads the remaining reports, and returns the count.
    pub fn close(mut self) -> Tally {
        writeln!(self.reports, "{END}").unwrap();
        self.listener.join().unwrap();
        self.tally.lock().unwrap().clone()
    }
}

impl Tally {
    fn take_down(&mut self, line: &str) {
        let number: u64 = match line.split_once(' ') {
            Some(("own", number)) => number.parse().unwrap(),
            Some(("script", number)) => {
                self.by_scripts += 1;
                number.parse().unwrap()
            }
            _ => return self.violations.push(line.to_owned()),
        };
        let now = Instant::now();
        let gap = now - self.latest.replace(now).unwrap();
        self.longest_gap = self.longest_gap.max(gap);
        self.acquisitions += 1;
        // Owners report while they hold the lock, so reports come in the order of their numbers.
        if number <= self.highest {
            self.lost_updates += 1;
        } else {
            self.missing += number - self.highest - 1;
            self.highest = number;
        }
    }
}
