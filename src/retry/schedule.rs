//! How long to sleep between attempts: growth, cap and jitter.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::retry::{Jitter, RetryPolicy};

/// The delays of one run. Made after its first failure: the seed may cost a system call.
pub(super) struct Schedule {
    curve: ExponentialBackoff,
    jitter: Jitter,
    random: SmallRng,
}

impl Schedule {
    pub(super) fn new(policy: &RetryPolicy) -> Schedule {
        Schedule {
            curve: ExponentialBackoff {
                current_interval: policy.initial_delay,
                initial_interval: policy.initial_delay,
                max_interval: policy.max_delay,
                multiplier: policy.multiplier,
                randomization_factor: 0.0,
                max_elapsed_time: None,
                ..ExponentialBackoff::default()
            },
            jitter: policy.jitter,
            random: policy.seed.map_or_else(SmallRng::from_entropy, SmallRng::seed_from_u64),
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        // The interval, and not what `next_backoff` makes of it: that is off by a random nanosecond even
        // with its randomization switched off, and by a second where it rounds past a full one.
        let delay = self.curve.current_interval.min(self.curve.max_interval);
        self.curve.next_backoff();
        self.jitter.spread(delay, &mut self.random)
    }
}
