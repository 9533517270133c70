//! Many processes want the same lock: how often somebody gets it, how evenly, how long the unluckiest
//! waits, and whether the lock keeps them apart.
//!
//! Under the lock each adds one to a number in a file, in two steps. Where two are inside at once, one
//! of the two additions is lost. In the stress test the owners also kill themselves, with SIGKILL and
//! while they hold the lock, so that stale files are there to be taken over by many at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::candidates::{Candidate, LOCKS};
use crate::crowd::{Crowd, Outcome, Waiting};
use crate::place::Place;
use crate::{floor, is_short};

/// With the least that a pid file takes.
pub fn candidates() -> impl Iterator<Item = Candidate> {
    LOCKS.into_iter().chain([floor::EXCLUSIVE])
}

pub fn measure() -> Value {
    let place = Place::tmpfs();
    let mut rows = Vec::new();
    for waiting in [Waiting::Spinning, Waiting::Policy] {
        for processes in [2, 4, 8] {
            let crowd = Crowd { processes, waiting, kills: false, lasts: lasts(700) };
            rows.extend(compare(&place, &crowd, if is_short() { 1 } else { 3 }));
        }
    }
    let crowd = Crowd { processes: 8, waiting: Waiting::Spinning, kills: true, lasts: lasts(4000) };
    json!({ "place": place.file_system, "rows": rows, "stress": stress(&place, &crowd) })
}

fn lasts(milliseconds: u64) -> Duration {
    Duration::from_millis(if is_short() { milliseconds / 20 } else { milliseconds })
}

/// The candidates take turns here, too.
fn compare(place: &Place, crowd: &Crowd, rounds: u32) -> Vec<Value> {
    let mut outcomes: Vec<_> = candidates().map(|it| (it, Outcome::default())).collect();
    for _ in 0..rounds {
        for (candidate, outcome) in &mut outcomes {
            outcome.add(&crowd.run(candidate.name, &place.path_for(candidate.name)));
        }
    }
    let row = |(candidate, outcome): &(Candidate, Outcome)| {
        json!({
            "name": candidate.name,
            "processes": crowd.processes,
            "waiting": crowd.waiting.name(),
            "per_second": outcome.per_second(),
            "jain": outcome.jain(),
            "longest_wait_ms": outcome.longest_wait.as_secs_f64() * 1e3,
            "acquisitions": outcome.acquisitions(),
            "lost": outcome.lost(),
        })
    };
    outcomes.iter().map(row).collect()
}

fn stress(place: &Place, crowd: &Crowd) -> Vec<Value> {
    let row = |candidate: Candidate| {
        let path = place.path_for(&format!("{} stress", candidate.name));
        let outcome = crowd.run(candidate.name, &path);
        json!({
            "name": candidate.name,
            "acquisitions": outcome.acquisitions(),
            "kills": outcome.kills,
            // A lock that blocks for ever after a crash sees only one.
            "survives": outcome.kills > 1,
            "lost": outcome.lost(),
        })
    };
    candidates().map(row).collect()
}
