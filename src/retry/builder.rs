//! A custom policy, checked before it is used.

use std::time::Duration;

use crate::retry::policy::{Jitter, RetryPolicy, SHORTEST_DELAY};

/// Builds a [`RetryPolicy`]. A field that is not set keeps the value of the policy from which the builder was
/// made.
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
pub struct RetryPolicyBuilder(RetryPolicy);

/// Why a policy is invalid. Every message begins with the name of the field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// The first delay is so short that a run would only spin.
    #[error("initial_delay is {0:?}, and less than {SHORTEST_DELAY:?}")]
    InitialDelay(Duration),
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

impl RetryPolicy {
    /// Starts a custom policy from the default one.
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicy::default().to_builder()
    }

    /// Starts a custom policy from this one, to change a field or two.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pidlockfile::retry::{InvalidPolicy, RetryPolicy};
    ///
    /// # fn main() -> Result<(), InvalidPolicy> {
    /// let rarely = RetryPolicy::daemon().to_builder().max_delay(Duration::from_secs(5)).build()?;
    /// # assert_ne!(rarely, RetryPolicy::daemon());
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_builder(&self) -> RetryPolicyBuilder {
        RetryPolicyBuilder(*self)
    }
}

impl RetryPolicyBuilder {
    /// Sets the delay after the first attempt, before jitter: at least 1 ms. Default: 10 ms.
    pub fn initial_delay(self, delay: Duration) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { initial_delay: delay, ..self.0 })
    }

    /// Sets the factor by which each delay exceeds the one before. Default: 1.5.
    pub fn multiplier(self, factor: f64) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { multiplier: factor, ..self.0 })
    }

    /// Sets the longest delay, which jitter never exceeds. Default: 250 ms.
    pub fn max_delay(self, delay: Duration) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { max_delay: delay, ..self.0 })
    }

    /// Sets how delays are randomized. Default: [`Jitter::Equal`].
    pub fn jitter(self, jitter: Jitter) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { jitter, ..self.0 })
    }

    /// Sets the number of attempts, the first included; `None` for any number, the default.
    ///
    /// Attempts that [events](RetryPolicyBuilder::wake_on_release) cause do not count.
    pub fn max_attempts(self, limit: impl Into<Option<u32>>) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { max_attempts: limit.into(), ..self.0 })
    }

    /// Sets the time after which a run gives up; `None` for never, zero for a single attempt.
    /// Default: 10 s.
    pub fn max_elapsed(self, limit: impl Into<Option<Duration>>) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { max_elapsed: limit.into(), ..self.0 })
    }

    /// Sets the seed of the jitter, so that every run sleeps the same delays; for tests.
    ///
    /// `None`, the default, draws a new seed for each run.
    pub fn seed(self, seed: impl Into<Option<u64>>) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { seed: seed.into(), ..self.0 })
    }

    /// Sets whether an event, such as the release of the lock, ends a delay early. Default: yes.
    ///
    /// A delay is still the longest time until the next attempt: nothing depends on an event. If an attempt
    /// after an event fails, the delay goes on where it was, and the attempt does not count towards
    /// `max_attempts`. If many processes wait, they do not all try at the same moment, and none of them
    /// starves. A file that changes all the time does not make a waiter spin.
    ///
    /// # Platform-specific behavior
    ///
    /// On Linux and Android a [`Lockfile`](crate::Lockfile) raises an event when the file is removed or closed,
    /// and when the recorded process ends. It raises none when another machine does that, nor when flock(1)
    /// releases the lock, because flock(1) opens the file for reading only. All waits of a process share one
    /// inotify instance; a wait that can't get one sleeps its delays to the end. A lock that is kept elsewhere
    /// [raises its own events](crate::retry::TryLock::watch).
    pub fn wake_on_release(self, wake: bool) -> RetryPolicyBuilder {
        RetryPolicyBuilder(RetryPolicy { wake_on_release: wake, ..self.0 })
    }

    /// Checks the policy and returns it.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] if a field is invalid; its variants list the reasons.
    pub fn build(self) -> Result<RetryPolicy, InvalidPolicy> {
        let RetryPolicy { initial_delay, multiplier, max_delay, max_attempts, .. } = self.0;
        if initial_delay < SHORTEST_DELAY {
            return Err(InvalidPolicy::InitialDelay(initial_delay));
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
        Ok(self.0)
    }
}
