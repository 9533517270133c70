//! A policy of the caller's own, checked before it is used.

use std::time::Duration;

use crate::retry::{Jitter, RetryPolicy};

/// A [`RetryPolicy`] in the making; what is not set is as in the default one.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use pidlockfile::retry::{InvalidPolicy, Jitter, RetryPolicy};
///
/// # fn main() -> Result<(), InvalidPolicy> {
/// let policy = RetryPolicy::builder()
///     .initial_delay(Duration::from_millis(1))
///     .max_delay(Duration::from_millis(100))
///     .jitter(Jitter::Full)
///     .max_elapsed(None)
///     .build()?;
/// assert!(policy.delays().take(1000).all(|delay| delay <= Duration::from_millis(100)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RetryPolicyBuilder {
    unchecked: RetryPolicy,
}

/// Why a policy makes no sense. Every text begins with the name of the field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// The first delay is zero, and so would be all the others.
    #[error("initial_delay is zero, and so would be every delay after it")]
    InitialDelay,
    /// The multiplier is less than 1, infinite or not a number.
    #[error("multiplier is {0}, and not a finite number of at least 1")]
    Multiplier(f64),
    /// The longest delay is shorter than the first one.
    #[error("max_delay is {max_delay:?}, and less than the initial_delay of {initial_delay:?}")]
    MaxDelay {
        /// The first delay.
        initial_delay: Duration,
        /// The longest delay.
        max_delay: Duration,
    },
    /// Not even the first attempt is allowed.
    #[error("max_attempts is zero, and it includes the first attempt")]
    MaxAttempts,
}

impl RetryPolicyBuilder {
    pub(super) fn new() -> RetryPolicyBuilder {
        RetryPolicyBuilder { unchecked: RetryPolicy::default() }
    }

    /// Sets the delay after the first attempt, before jitter. Default: 10 ms.
    pub fn initial_delay(mut self, delay: Duration) -> RetryPolicyBuilder {
        self.unchecked.initial_delay = delay;
        self
    }

    /// Sets the factor by which each delay is longer than the one before. Default: 1.5.
    pub fn multiplier(mut self, factor: f64) -> RetryPolicyBuilder {
        self.unchecked.multiplier = factor;
        self
    }

    /// Sets the longest delay; jitter does not exceed it either. Default: 250 ms.
    pub fn max_delay(mut self, delay: Duration) -> RetryPolicyBuilder {
        self.unchecked.max_delay = delay;
        self
    }

    /// Sets how delays are spread. Default: [`Jitter::Equal`].
    pub fn jitter(mut self, jitter: Jitter) -> RetryPolicyBuilder {
        self.unchecked.jitter = jitter;
        self
    }

    /// Sets the number of attempts, the first included; `None` for any number, the default.
    ///
    /// Attempts that [news of the lock](RetryPolicyBuilder::wake_on_release) brings about come on top:
    /// they make no run give up earlier.
    pub fn max_attempts(mut self, limit: impl Into<Option<u32>>) -> RetryPolicyBuilder {
        self.unchecked.max_attempts = limit.into();
        self
    }

    /// Sets the time after which a run gives up; `None` for never, zero for a single attempt.
    /// Default: 10 s.
    pub fn max_elapsed(mut self, limit: impl Into<Option<Duration>>) -> RetryPolicyBuilder {
        self.unchecked.max_elapsed = limit.into();
        self
    }

    /// Sets the seed of the jitter, which makes every run sleep the same delays; for tests.
    ///
    /// `None`, the default, draws a new seed for each run.
    pub fn seed(mut self, seed: impl Into<Option<u64>>) -> RetryPolicyBuilder {
        self.unchecked.seed = seed.into();
        self
    }

    /// Sets whether news of the lock, such as its release, ends a sleep early. Default: yes.
    ///
    /// The delays stay the upper bound of every sleep. An attempt that comes early and fails goes back
    /// to the same sleep: it neither counts towards `max_attempts` nor makes the next delay longer.
    ///
    /// So that a crowd does not try all at once, a run that was woken in vain waits for a random time after the
    /// next news: up to 0.2 ms for each time that another one was quicker, 6.4 ms at the most, and one time in
    /// four not at all. Where nothing shows that the lock changed hands, as with a file that only changes or a
    /// lock that is kept elsewhere, this doubles each time, up to 26 ms: some 80 attempts a second. News that
    /// comes a second after the last is answered at once. A killed owner closes its file before it is dead; so
    /// after a close, a run waits for that, but no more than 1 ms on top, and then tries again after 8, 64 and
    /// 512 ms.
    ///
    /// # Platform-specific behavior
    ///
    /// For a [`Lockfile`](crate::Lockfile) there is news on Linux and Android: of the file, by
    /// inotify(7), and of the process whose pid is in it, by a pidfd. The first sleep goes without
    /// if it is no longer than 10 ms. A process has at most 16 waits that hear news at a time, each with one
    /// inotify instance, of which a user may have 128; a wait that gets none sleeps its delays to the
    /// end. Between machines that share a file there is no news, and a child that pid 1 forks into a new pid
    /// namespace, where it is pid 1 too, may take its parent's. A lock that is kept elsewhere
    /// [brings its own](crate::retry::TryLock::watch).
    pub fn wake_on_release(mut self, wake: bool) -> RetryPolicyBuilder {
        self.unchecked.wake_on_release = wake;
        self
    }

    /// Checks the policy and returns it.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] if a field makes no sense: no delay, delays that shrink, or no attempt at all.
    pub fn build(self) -> Result<RetryPolicy, InvalidPolicy> {
        let RetryPolicy { initial_delay, multiplier, max_delay, max_attempts, .. } = self.unchecked;
        if initial_delay.is_zero() {
            return Err(InvalidPolicy::InitialDelay);
        }
        if !multiplier.is_finite() || multiplier < 1.0 {
            return Err(InvalidPolicy::Multiplier(multiplier));
        }
        if max_delay < initial_delay {
            return Err(InvalidPolicy::MaxDelay { initial_delay, max_delay });
        }
        if max_attempts == Some(0) {
            return Err(InvalidPolicy::MaxAttempts);
        }
        Ok(self.unchecked)
    }
}
