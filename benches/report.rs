//! What came out: a Markdown table, JSON for the scripts, criterion's plots.

use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use serde_json::{Value, json};

use crate::candidates::OURS;
use crate::rounds::Times;
use crate::save::save;

/// One bench on one file system.
pub struct Report<'a> {
    /// What is measured: `cycle`, `busy`, …
    pub bench: &'static str,
    pub place: &'a str,
    pub times: Vec<Times>,
    /// The name of the candidate that shows what the kernel alone takes.
    pub floor: &'static str,
    /// What else the table says of a candidate: heading and entry.
    pub remarks: &'a dyn Fn(&str) -> Vec<(&'static str, String)>,
}

impl Report<'_> {
    /// Plots, writes and prints it all.
    pub fn publish(&self) {
        self.plot();
        let rows: Vec<Value> = self.times.iter().map(|times| self.row(times)).collect();
        save(
            &format!("{}-{}", self.bench, self.place),
            &json!({
                "bench": self.bench,
                "place": self.place,
                "rounds": self.times[0].rounds.len(),
                "floor": self.floor,
                "rows": rows,
            }),
        );
        self.print();
    }

    fn times_of(&self, name: &str) -> &Times {
        self.times.iter().find(|times| times.name == name).expect("it took part")
    }

    fn row(&self, times: &Times) -> Value {
        let remarks = (self.remarks)(times.name).into_iter();
        json!({
            "name": times.name,
            "median_ns": times.median(),
            "low_ns": times.quantile(0.1),
            "high_ns": times.quantile(0.9),
            "to_floor": times.ratio_to(self.times_of(self.floor)),
            "to_ours": times.ratio_to(self.times_of(OURS)),
            "remarks": remarks.map(|(key, text)| (key.into(), text.into())).collect::<serde_json::Map<_, _>>(),
        })
    }

    fn print(&self) {
        println!("\n### {} on {}\n", self.bench, self.place);
        let remarks = (self.remarks)(OURS);
        let headings: Vec<&str> = remarks.iter().map(|(heading, _)| *heading).collect();
        let extra = cells(&headings);
        println!("| candidate | µs | 10 % to 90 % | × floor | × {OURS} |{extra}");
        println!("|---|---|---|---|---|{}", "---|".repeat(headings.len()));
        for times in &self.times {
            let remarks = (self.remarks)(times.name);
            let texts: Vec<&str> = remarks.iter().map(|(_, text)| text.as_str()).collect();
            let extra = cells(&texts);
            println!(
                "| {} | {:.2} | {:.2} to {:.2} | {:.2} | {:.2} |{extra}",
                times.name,
                times.median() / 1e3,
                times.quantile(0.1) / 1e3,
                times.quantile(0.9) / 1e3,
                times.ratio_to(self.times_of(self.floor)),
                times.ratio_to(self.times_of(OURS)),
            );
        }
        println!("\nThe floor: {}. Medians of {} rounds.", self.floor, self.times[0].rounds.len());
    }

    /// Hands criterion the rounds as its samples. It draws and compares with the last run; it measures
    /// nothing, since it cannot let the candidates take turns.
    fn plot(&self) {
        let mut criterion = Criterion::default().nresamples(1000);
        let mut group = criterion.benchmark_group(format!("{} on {}", self.bench, self.place));
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(self.times[0].rounds.len())
            .warm_up_time(Duration::from_nanos(1))
            .measurement_time(Duration::from_millis(1));
        for times in &self.times {
            let mut rounds = times.rounds.iter().cycle();
            group.bench_function(times.name, |bencher| {
                bencher.iter_custom(|iterations| {
                    #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
                    let iterations = iterations as f64;
                    Duration::from_secs_f64(
                        rounds.next().expect("it is a cycle") * iterations / 1e9,
                    )
                });
            });
        }
        group.finish();
        criterion.final_summary(); // the page that leads to all others
    }
}

/// Further cells of a table's row.
fn cells(texts: &[&str]) -> String {
    if texts.is_empty() { String::new() } else { format!(" {} |", texts.join(" | ")) }
}
