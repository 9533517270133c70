//! When to try again and when to give up, as plain data.

use std::time::Duration;

/// The shortest delay: a shorter one would only spin.
pub(super) const SHORTEST_DELAY: Duration = Duration::from_millis(1);

/// When to try again, and when to give up.
///
/// [`default`](RetryPolicy::default) suits a program with a user waiting for it,
/// [`daemon`](RetryPolicy::daemon) suits a background service. The table of the [module](crate::retry) compares
/// them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use pidlockfile::retry::RetryPolicy;
///
/// let patient = RetryPolicy::default().with_max_elapsed(Duration::from_secs(60));
/// assert_ne!(patient, RetryPolicy::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    pub(super) initial_delay: Duration,
    pub(super) multiplier: f64,
    pub(super) max_delay: Duration,
    pub(super) jitter: Jitter,
    pub(super) max_attempts: Option<u32>,
    pub(super) max_elapsed: Option<Duration>,
    pub(super) seed: Option<u64>,
    pub(super) wake_on_release: bool,
}

/// How a delay is randomized.
///
/// Jitter only makes a delay shorter, so it never exceeds the longest delay.
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

/// The policy for a program with a user waiting for it: it gives up after 10 s.
impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            initial_delay: Duration::from_millis(10),
            multiplier: 1.5,
            max_delay: Duration::from_millis(250),
            jitter: Jitter::Equal,
            max_attempts: None,
            max_elapsed: Some(Duration::from_secs(10)),
            seed: None,
            wake_on_release: true,
        }
    }
}

impl RetryPolicy {
    /// Returns the policy for a daemon: longer delays, and no limit until it is cancelled.
    #[must_use]
    pub fn daemon() -> RetryPolicy {
        RetryPolicy {
            max_delay: Duration::from_secs(1),
            max_elapsed: None,
            ..RetryPolicy::default()
        }
    }

    /// Returns a policy with the same `delay` every time, without jitter, that gives up after 10 s.
    ///
    /// A delay of less than one millisecond counts as one millisecond, because it would spin.
    #[must_use]
    pub fn fixed(delay: Duration) -> RetryPolicy {
        let delay = delay.max(SHORTEST_DELAY);
        RetryPolicy {
            initial_delay: delay,
            multiplier: 1.0,
            max_delay: delay,
            jitter: Jitter::None,
            ..RetryPolicy::default()
        }
    }

    /// Returns a policy that makes one attempt.
    #[must_use]
    pub fn none() -> RetryPolicy {
        RetryPolicy { max_attempts: Some(1), ..RetryPolicy::default() }
    }

    /// Sets the time after which a run gives up; `None` for never, zero for a single attempt.
    ///
    /// The time counts from the start of the run. The last delay is cut short, so that the last attempt is made
    /// when the time is up.
    #[must_use]
    pub fn with_max_elapsed(self, limit: impl Into<Option<Duration>>) -> RetryPolicy {
        RetryPolicy { max_elapsed: limit.into(), ..self }
    }
}
