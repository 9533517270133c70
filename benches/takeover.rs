//! Taking a stale file: what the first one pays after a crash. The release is in the time as well.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::candidates::LOCKS_BY_PID;
use crate::place::Place;
use crate::rounds::Runner;
use crate::{floor, report};

/// More than any pid: `/proc/sys/kernel/pid_max` is at most 2^22.
const STALE_RECORD: &str = "2000000000\n";

pub fn measure() -> Value {
    let place = Place::tmpfs();
    let runners = [floor::TAKEOVER].into_iter().chain(LOCKS_BY_PID).map(|candidate| {
        let path = place.path_for(candidate.name);
        let attempt = (candidate.at)(&path);
        let batch = Box::new(move |count| {
            let mut taken = Duration::ZERO;
            for _ in 0..count {
                fs::write(&path, STALE_RECORD).unwrap();
                let started = Instant::now();
                assert!(attempt(&mut || {}));
                taken += started.elapsed();
            }
            taken
        });
        Runner { name: candidate.name, batch }
    });
    json!({ "races": [report::race("takeover", &place, floor::OWN_CALLS, runners.collect(), 40)] })
}
