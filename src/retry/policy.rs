//! How long to go on trying, and how often.

use std::time::Duration;

use crate::retry::{Jitter, Retry, RetryPolicyBuilder, decision};

/// When to try again, and when to give up.
///
/// The default suits a program whose user waits for it, [`daemon`](RetryPolicy::daemon) one that
/// nobody waits for:
///
/// | | `default()` | `daemon()` | why |
/// |---|---|---|---|
/// | first attempt | at once | at once | the lock is nearly always free |
/// | first delay | 10 ms | 10 ms | shorter sleeps only spin |
/// | growth | ×1.5 | ×1.5 | a short wait stays short, a long one costs nothing |
/// | longest delay | 250 ms | 1 s | how late a released lock is noticed at worst |
/// | jitter | equal | equal | waiters that started together drift apart |
/// | gives up after | 10 s | never | a user loses patience, a daemon is cancelled |
/// | wakes on release | yes | yes | on Linux the kernel tells when to try again, before the delay is over |
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
#[derive(Clone, Debug, PartialEq)]
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

/// Delays of 10 ms growing to 250 ms, equal jitter, gives up after 10 s.
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
    /// Returns the policy of a daemon: delays up to 1 s, and it goes on until it is cancelled.
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
    /// A delay of zero would spin, and counts as one millisecond.
    #[must_use]
    pub fn fixed(delay: Duration) -> RetryPolicy {
        let delay = if delay.is_zero() { Duration::from_millis(1) } else { delay };
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

    /// Starts a policy of your own from the default one.
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicyBuilder::new()
    }

    /// Sets the time after which a run gives up; `None` for never, zero for a single attempt.
    ///
    /// It is counted from the start of the run. The last sleep is cut short so that the last attempt
    /// is made when the time is up.
    #[must_use]
    pub fn with_max_elapsed(self, limit: impl Into<Option<Duration>>) -> RetryPolicy {
        RetryPolicy { max_elapsed: limit.into(), ..self }
    }

    /// Returns how long a run sleeps after each attempt, if the attempts take no time.
    ///
    /// The iterator ends where the run gives up; without a limit it never ends. Without a seed it
    /// differs from run to run, by the jitter.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pidlockfile::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::fixed(Duration::from_secs(7)).with_max_elapsed(Duration::from_secs(10));
    /// // Attempts after 0, 7 and 10 seconds.
    /// assert!(policy.delays().eq([7, 3].map(Duration::from_secs)));
    /// ```
    pub fn delays(&self) -> impl Iterator<Item = Duration> + Send {
        decision::delays(self)
    }

    /// Starts a run, to which hooks can be added before it acquires.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::{Lockfile, retry::RetryPolicy};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("run.pid");
    /// let _guard = RetryPolicy::default()
    ///     .run()
    ///     .on_wait(|attempt| eprintln!("waiting: {}", attempt.error))
    ///     .acquire(&Lockfile::new(path)?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run<E>(&self) -> Retry<'_, E> {
        Retry::new(self)
    }
}
