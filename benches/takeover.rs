//! Taking a stale file: what the first one pays after a crash. The release is in the time as well.

mod calls;
mod candidates;
mod effort;
mod floor;
mod place;
mod report;
mod rounds;
mod save;

use std::fs;
use std::time::{Duration, Instant};

use crate::candidates::{Candidate, LOCKS};
use crate::place::Place;
use crate::report::Report;
use crate::rounds::{Runner, race};

/// More than any pid: `/proc/sys/kernel/pid_max` is at most 2^22.
const STALE_RECORD: &str = "2000000000\n";

fn main() {
    let place = Place::tmpfs();
    let candidates: Vec<Candidate> = [floor::TAKEOVER].into_iter().chain(LOCKS).collect();
    let runners = candidates.iter().filter_map(|candidate| {
        let path = place.path_for(candidate.name);
        let attempt = (candidate.at)(&path);
        let plant = move || {
            fs::write(&path, STALE_RECORD).unwrap();
            // gix-lock puts its file beside the path.
            fs::write(path.with_extension("pid.lock"), "").unwrap();
        };
        plant();
        if !attempt(&mut || {}) {
            println!("takeover: {} never takes a stale file", candidate.name);
            return None;
        }
        let batch = Box::new(move |count| {
            let mut taken = Duration::ZERO;
            for _ in 0..count {
                plant();
                let started = Instant::now();
                assert!(attempt(&mut || {}));
                taken += started.elapsed();
            }
            taken
        });
        Some(Runner { name: candidate.name, batch })
    });
    let times = race(runners.collect(), 400, 40);
    let floor = floor::OWN_CALLS;
    let remarks = |_: &str| Vec::new();
    Report { bench: "takeover", place: &place.file_system, times, floor, remarks: &remarks }
        .publish();
}
