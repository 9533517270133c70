//! Who is faster, on a machine that does not hold still.
//!
//! The candidates take turns in small batches, in another order each round, and a candidate is
//! compared with the floor and with this crate within each round. A machine that gets slower in
//! the middle then slows all of them, and the ratios stay. Criterion and divan measure one candidate
//! after the other, minutes apart, and cannot do this.

use std::time::{Duration, Instant};

use crate::is_short;

const LONGEST_TURN: Duration = Duration::from_millis(4);

/// One of those that take turns.
pub struct Runner {
    pub name: &'static str,
    /// Does the thing so many times, and says how long that took.
    pub batch: Box<dyn FnMut(u32) -> Duration>,
}

impl Runner {
    /// A runner that is timed by the batch.
    pub fn new(name: &'static str, mut once: impl FnMut() + 'static) -> Runner {
        let batch = Box::new(move |count| {
            let started = Instant::now();
            for _ in 0..count {
                once();
            }
            started.elapsed()
        });
        Runner { name, batch }
    }
}

/// What each round took, in nanoseconds for one time.
pub struct Times {
    pub name: &'static str,
    pub rounds: Vec<f64>,
}

impl Times {
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn quantile(&self, fraction: f64) -> f64 {
        quantile(self.rounds.clone(), fraction)
    }

    /// The median of the ratios, each within one round.
    pub fn ratio_to(&self, other: &Times) -> f64 {
        let ratios = self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours / theirs);
        quantile(ratios.collect(), 0.5)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an index into at most some hundred rounds"
)]
fn quantile(mut values: Vec<f64>, fraction: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * fraction).round() as usize]
}

/// Has them take turns.
pub fn race(mut runners: Vec<Runner>, rounds: u32, batch: u32) -> Vec<Times> {
    let (rounds, batch) = if is_short() { (10, 5) } else { (rounds, batch) };
    // Warms caches and directories, and finds those that wait for the disk in each cycle: they have
    // smaller batches, or their turns would take all the time.
    let batches: Vec<u32> = runners
        .iter_mut()
        .map(|runner| {
            let took = (runner.batch)(batch);
            let fit = u128::from(batch) * LONGEST_TURN.as_nanos() / took.as_nanos().max(1);
            u32::try_from(fit).unwrap_or(batch).clamp(1, batch)
        })
        .collect();
    let mut times: Vec<Times> =
        runners.iter().map(|runner| Times { name: runner.name, rounds: Vec::new() }).collect();
    let mut order: Vec<usize> = (0..runners.len()).collect();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..rounds {
        shuffle(&mut order, &mut random);
        for &turn in &order {
            let took = (runners[turn].batch)(batches[turn]);
            times[turn].rounds.push(took.as_secs_f64() * 1e9 / f64::from(batches[turn]));
        }
    }
    times
}

/// Another order each round, or each would always suffer from the same one before it.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for last in (1..order.len()).rev() {
        // xorshift64
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let other = usize::try_from(*random >> 33).expect("31 bits fit") % (last + 1);
        order.swap(last, other);
    }
}
