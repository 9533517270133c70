//! What a race came to: figures for the tables, and criterion's plots.

use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use serde_json::{Value, json};

use crate::candidates::OURS;
use crate::place::Place;
use crate::rounds::{self, Runner, Times};

/// Has them take turns on one file system. The floor is the candidate that shows what the kernel alone takes.
pub fn race(bench: &str, place: &Place, floor: &str, runners: Vec<Runner>, batch: u32) -> Value {
    let times = rounds::race(runners, 400, batch);
    plot(&format!("{bench} on {}", place.file_system), &times);
    let of = |name: &str| times.iter().find(|times| times.name == name).expect("it took part");
    let (floor, ours) = (of(floor), of(OURS));
    let row = |times: &Times| {
        json!({
            "name": times.name,
            "median_ns": times.median(),
            "low_ns": times.quantile(0.1),
            "high_ns": times.quantile(0.9),
            "to_floor": times.ratio_to(floor),
            "to_ours": times.ratio_to(ours),
        })
    };
    json!({
        "place": place.file_system,
        "rounds": floor.rounds.len(),
        "floor": floor.name,
        "rows": times.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Hands criterion the rounds as its samples. It draws and compares with the last run; it measures
/// nothing, since it cannot let the candidates take turns.
fn plot(title: &str, times: &[Times]) {
    let mut criterion = Criterion::default().nresamples(1000);
    let mut group = criterion.benchmark_group(title);
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(times[0].rounds.len())
        .warm_up_time(Duration::from_nanos(1))
        .measurement_time(Duration::from_millis(1));
    for times in times {
        let mut rounds = times.rounds.iter().cycle();
        group.bench_function(times.name, |bencher| {
            bencher.iter_custom(|iterations| {
                #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
                let iterations = iterations as f64;
                Duration::from_secs_f64(rounds.next().expect("it is a cycle") * iterations / 1e9)
            });
        });
    }
    group.finish();
    criterion.final_summary(); // the page that leads to all others
}
