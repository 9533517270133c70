//! The one loop of a run: an attempt, a decision, a sleep. [`wake_up`](crate::retry::wake_up) is the sleep.

use std::time::Duration;

use crate::retry::failure::{Attempt, GaveUp, RetryError};
use crate::retry::policy::RetryPolicy;
use crate::retry::schedule::{Cause, Schedule};
use crate::retry::sleep::Sleeper;
use crate::retry::temporary::{Again, Failure, Temporary};
use crate::retry::trace::Trace;
use crate::retry::wake_up::WakeUp;
use crate::retry::watch::Watch;

/// What a run has to know of an error.
pub(super) struct Verdict {
    again: Again,
    owner: Option<u32>,
    is_shortage: bool,
}

impl Verdict {
    /// Asks the error itself.
    pub(super) fn of(error: &impl Temporary) -> Verdict {
        let again = match error.retry_after() {
            Some(delay) if error.is_temporary() => Again::After(delay),
            _ => error.is_temporary().into(),
        };
        Verdict { again, owner: error.owner(), is_shortage: error.is_shortage() }
    }
}

impl From<Again> for Verdict {
    fn from(again: Again) -> Verdict {
        Verdict { again, owner: None, is_shortage: false }
    }
}

/// A run that is to begin.
pub(super) struct Wait<'a, H, J, S> {
    pub(super) policy: RetryPolicy,
    pub(super) hook: H,
    pub(super) judge: J,
    pub(super) sleeper: S,
    pub(super) trace: Trace<'a>,
}

impl<H: FnMut(&Attempt<'_>), J, S: Sleeper> Wait<'_, H, J, S> {
    /// Calls `operation` until it succeeds or the policy gives up. `source` makes a watch on a lock.
    pub(super) async fn run<T, E, F>(
        mut self,
        mut operation: impl FnMut() -> F,
        source: Option<impl Fn() -> Option<Watch>>,
    ) -> Result<T, RetryError<E>>
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
        J: FnMut(&E) -> Verdict,
    {
        let mut wake_up = WakeUp::new(source.filter(|_| self.policy.wake_on_release));
        let mut schedule = Schedule::new(self.policy);
        let mut cause = Cause::Schedule;
        let (mut last, mut owner, mut elapsed) = (None, None, Duration::ZERO);
        let (reason, last) = loop {
            if self.sleeper.is_cancelled() {
                break (GaveUp::Cancelled, last);
            }
            let error = match operation().await {
                Ok(value) => {
                    self.trace.succeeded(schedule.attempts + u32::from(cause != Cause::Watch));
                    return Ok(value);
                }
                Err(error) => error,
            };
            let mut verdict = (self.judge)(&error);
            owner = verdict.owner;
            if verdict.is_shortage && last.is_some() {
                // It may be our own watch that has used up the last.
                wake_up.give_up_watch();
                verdict.again = Again::Scheduled;
            }
            if cause != Cause::Watch {
                elapsed = self.sleeper.elapsed();
            }
            let next_delay = match schedule.after_failure(cause, verdict.again, elapsed) {
                Ok(delay) => delay,
                Err(reason) => break (reason, Some(error)),
            };
            if wake_up.puts_up_watch(next_delay) {
                cause = Cause::Watch;
            } else {
                let number = schedule.attempts;
                self.tell(&Attempt { number, error: &error, elapsed, next_delay, owner });
                cause = wake_up.sleep(schedule.due, &mut self.sleeper).await;
            }
            last = Some(error);
        };
        let attempts = schedule.attempts;
        let error = RetryError { reason, attempts, elapsed: self.sleeper.elapsed(), last };
        self.trace.gave_up(&error, owner);
        Err(error)
    }

    fn tell(&mut self, attempt: &Attempt<'_>) {
        self.trace.failed(attempt);
        (self.hook)(attempt);
    }
}
