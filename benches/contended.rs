//! Many processes want the same lock: how often somebody gets it, how evenly, how long the unluckiest
//! waits, and whether the lock keeps them apart.
//!
//! Under the lock each adds one to a number in a file, in two steps. Where two are inside at once, one
//! of the two additions is lost. In the stress test the owners also kill themselves, with SIGKILL and
//! while they hold the lock, so that stale files are there to be taken over by many at once.

mod calls;
mod candidates;
mod crowd;
mod effort;
mod floor;
mod place;
mod save;
mod tally;

use std::time::Duration;

use serde_json::{Value, json};

use crate::candidates::{Candidate, LOCKS};
use crate::crowd::{Crowd, Outcome, Waiting};
use crate::place::Place;

fn main() {
    crowd::join_if_told();
    let place = Place::tmpfs();
    let short = effort::is_short();
    let candidates: Vec<Candidate> = LOCKS
        .into_iter()
        .filter(|candidate| candidate.name != "acquire_with_retry") // it is the policy, with ours
        .chain([floor::EXCLUSIVE])
        .collect();

    let mut rows = Vec::new();
    for waiting in [Waiting::Spinning, Waiting::Policy] {
        for processes in [2, 4, 8] {
            let crowd = Crowd { processes, waiting, kills: false, lasts: lasts(short, 700) };
            rows.extend(compare(&place, &candidates, &crowd, if short { 1 } else { 3 }));
        }
    }
    let crowd =
        Crowd { processes: 8, waiting: Waiting::Spinning, kills: true, lasts: lasts(short, 4000) };
    let stress = stress(&place, &candidates, &crowd);
    save::save("contended", &json!({ "place": place.file_system, "rows": rows, "stress": stress }));
}

fn lasts(short: bool, milliseconds: u64) -> Duration {
    Duration::from_millis(if short { milliseconds / 20 } else { milliseconds })
}

/// The candidates take turns here, too.
fn compare(place: &Place, candidates: &[Candidate], crowd: &Crowd, rounds: u32) -> Vec<Value> {
    let mut outcomes: Vec<Outcome> = candidates.iter().map(|_| Outcome::default()).collect();
    for _ in 0..rounds {
        for (candidate, outcome) in candidates.iter().zip(&mut outcomes) {
            outcome.add(&crowd.run(candidate.name, &place.path_for(candidate.name)));
        }
    }
    println!(
        "\n### contended: {} processes, {}, on {}\n",
        crowd.processes,
        crowd.waiting.name(),
        place.file_system
    );
    println!("| candidate | acquisitions/s | fairness (Jain) | longest wait, ms | lost updates |");
    println!("|---|---|---|---|---|");
    let rows = candidates.iter().zip(&outcomes).map(|(candidate, outcome)| {
        println!(
            "| {} | {:.0} | {:.2} | {:.1} | {} |",
            candidate.name,
            outcome.per_second(),
            outcome.jain(),
            outcome.longest_wait.as_secs_f64() * 1e3,
            outcome.lost(),
        );
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
    });
    rows.collect()
}

fn stress(place: &Place, candidates: &[Candidate], crowd: &Crowd) -> Vec<Value> {
    println!(
        "\n### stress: {} processes, owners killed, on {}\n",
        crowd.processes, place.file_system
    );
    println!(
        "| candidate | acquisitions | owners killed | survives SIGKILL | lost updates | exclusion |"
    );
    println!("|---|---|---|---|---|---|");
    let rows = candidates.iter().map(|candidate| {
        let outcome =
            crowd.run(candidate.name, &place.path_for(&format!("{} stress", candidate.name)));
        // Who blocks for ever after a crash sees only one.
        let survives = outcome.kills > 1;
        let holds = outcome.lost() == 0;
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            candidate.name,
            outcome.acquisitions(),
            outcome.kills,
            if survives { "yes" } else { "no" },
            outcome.lost(),
            if holds { "holds" } else { "broken" },
        );
        json!({
            "name": candidate.name,
            "acquisitions": outcome.acquisitions(),
            "kills": outcome.kills,
            "survives": survives,
            "lost": outcome.lost(),
        })
    });
    rows.collect()
}
