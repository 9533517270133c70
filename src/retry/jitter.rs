//! Spreading delays, so that waiters do not move in step.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::SmallRng;

/// How a delay is spread at random.
///
/// It only ever makes a delay shorter, so that `max_delay` holds with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as computed.
    None,
    /// Between half the delay and the delay. The default.
    #[default]
    Equal,
    /// Between zero and the delay.
    Full,
}

impl Jitter {
    pub(super) fn spread(self, delay: Duration, random: &mut SmallRng) -> Duration {
        match self {
            Jitter::None => delay,
            Jitter::Equal => random.gen_range(delay / 2..=delay),
            Jitter::Full => random.gen_range(Duration::ZERO..=delay),
        }
    }
}
