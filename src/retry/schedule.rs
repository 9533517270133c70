//! When the next attempt is due, or why the run gives up. It has no clock and no sleep: the caller passes the
//! time.

use std::iter;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::retry::failure::GaveUp;
use crate::retry::policy::{Jitter, RetryPolicy};
use crate::retry::temporary::Again;

/// What caused an attempt.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cause {
    /// Its delay ended, or it is the first attempt.
    Schedule,
    /// An event ended the delay early.
    Event,
    /// The watch was put up. Earlier changes raised no event, so the lock is tried once more. That counts as
    /// one attempt with the previous one.
    Watch,
}

/// The progress of one run of a policy.
pub(super) struct Schedule {
    policy: RetryPolicy,
    pub(super) attempts: u32,
    /// How many of the attempts were caused by events.
    early: u32,
    /// The age of the run when the next attempt is due.
    ///
    /// An age and not a delay: the time that a hook takes is not added to the delay, so the deadline holds.
    pub(super) due: Duration,
    /// The delay is one that an error has asked for.
    is_asked_for: bool,
    delays: Option<Delays>,
}

impl Schedule {
    pub(super) fn new(policy: RetryPolicy) -> Schedule {
        Schedule {
            policy,
            attempts: 0,
            early: 0,
            due: Duration::ZERO,
            is_asked_for: false,
            delays: None,
        }
    }

    /// The delay before the next attempt. `elapsed` is the time since the run began.
    ///
    /// After an early attempt it is the rest of the same delay: events neither use up a run nor change its
    /// delays.
    pub(super) fn after_failure(
        &mut self,
        cause: Cause,
        again: Again,
        elapsed: Duration,
    ) -> Result<Duration, GaveUp> {
        self.attempts = self.attempts.saturating_add((cause != Cause::Watch).into());
        self.early = self.early.saturating_add((cause == Cause::Event).into());
        if again == Again::Never {
            return Err(GaveUp::Permanent);
        }
        if cause != Cause::Schedule {
            // A place that is told of its turn no more needs the policy's delay, and not the rest of its own.
            if std::mem::take(&mut self.is_asked_for) {
                match again {
                    Again::After(_) => self.is_asked_for = true,
                    _ => self.due = self.due.min(elapsed.saturating_add(self.next_delay())),
                }
            }
            return Ok(self.due.saturating_sub(elapsed));
        }
        if self.policy.max_attempts.is_some_and(|limit| self.attempts - self.early >= limit) {
            return Err(GaveUp::Attempts);
        }
        let left = self.policy.max_elapsed.map(|limit| limit.saturating_sub(elapsed));
        if left == Some(Duration::ZERO) {
            return Err(GaveUp::Deadline);
        }
        let delay = match again {
            Again::After(delay) => delay,
            _ => self.next_delay(),
        };
        self.is_asked_for = matches!(again, Again::After(_));
        // Cut short, so that the last attempt is made at the deadline and not a whole delay before it.
        let delay = delay.min(left.unwrap_or(Duration::MAX));
        self.due = elapsed.saturating_add(delay);
        Ok(delay)
    }

    fn next_delay(&mut self) -> Duration {
        self.delays.get_or_insert_with(|| Delays::new(&self.policy)).next()
    }
}

impl RetryPolicy {
    /// Returns the delays of a run whose attempts all fail and take no time.
    ///
    /// The iterator ends when the run gives up; without a limit it never ends. Without a seed, jitter makes
    /// each iterator different.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pidlockfile::retry::RetryPolicy;
    ///
    /// let seconds = Duration::from_secs;
    /// let policy = RetryPolicy::fixed(seconds(7)).with_max_elapsed(seconds(10));
    /// // Attempts after 0, 7 and 10 seconds.
    /// assert!(policy.delays().eq([7, 3].map(seconds)));
    /// ```
    pub fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let mut schedule = Schedule::new(*self);
        let mut elapsed = Duration::ZERO;
        iter::from_fn(move || {
            let delay = schedule.after_failure(Cause::Schedule, Again::Scheduled, elapsed).ok()?;
            elapsed = schedule.due;
            Some(delay)
        })
    }
}

/// The delays of one run. Created after the first failure, because seeding may cost a system call.
struct Delays {
    curve: ExponentialBackoff,
    jitter: Jitter,
    random: SmallRng,
}

impl Delays {
    fn new(policy: &RetryPolicy) -> Delays {
        Delays {
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

    fn next(&mut self) -> Duration {
        // The interval itself, and not the result of `next_backoff`, which is off by a random nanosecond even
        // with randomization switched off, and by a second where it rounds past a full one.
        let delay = self.curve.current_interval.min(self.curve.max_interval);
        self.curve.next_backoff();
        self.jitter.spread(delay, &mut self.random)
    }
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
