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

/// What a run asks about an error.
pub(super) trait Judge<E> {
    fn again(&mut self, error: &E) -> Again;

    fn owner(&self, _error: &E) -> Option<u32> {
        None
    }

    fn is_shortage(&self, _error: &E) -> bool {
        false
    }
}

/// Asks the error itself.
pub(super) struct ByItself;

impl<E: Temporary> Judge<E> for ByItself {
    fn again(&mut self, error: &E) -> Again {
        Again::after(error)
    }

    fn owner(&self, error: &E) -> Option<u32> {
        error.owner()
    }

    fn is_shortage(&self, error: &E) -> bool {
        error.is_shortage()
    }
}

/// Asks a closure.
pub(super) struct By<J>(pub(super) J);

impl<E, A: Into<Again>, J: FnMut(&E) -> A> Judge<E> for By<J> {
    fn again(&mut self, error: &E) -> Again {
        (self.0)(error).into()
    }
}

/// A run that is to begin.
pub(super) struct Wait<'a, H, J, S> {
    pub(super) policy: RetryPolicy,
    pub(super) on_wait: H,
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
        J: Judge<E>,
    {
        let mut wake_up = WakeUp::new(source.filter(|_| self.policy.wake_on_release));
        let mut schedule = Schedule::new(self.policy.clone());
        let mut cause = Cause::Schedule;
        let mut last = None;
        loop {
            if self.sleeper.is_cancelled() {
                return Err(self.give_up(GaveUp::Cancelled, schedule.attempts(), last));
            }
            let error = match operation().await {
                Ok(value) => {
                    self.trace.succeeded(schedule.attempts() + u32::from(cause != Cause::Watch));
                    return Ok(value);
                }
                Err(error) => error,
            };
            let mut again = self.judge.again(&error);
            if last.is_some() && self.judge.is_shortage(&error) {
                // It may be our own watch that has used up the last.
                wake_up.give_up_watch();
                again = Again::Scheduled;
            }
            let elapsed = self.sleeper.elapsed();
            let delay = match schedule.after_failure(cause, again, elapsed) {
                Ok(delay) => delay,
                Err(reason) => return Err(self.give_up(reason, schedule.attempts(), Some(error))),
            };
            if wake_up.puts_up_watch(delay) {
                cause = Cause::Watch;
                last = Some(error);
                continue;
            }
            self.tell(&error, schedule.attempts(), elapsed, delay);
            last = Some(error);
            cause = wake_up.sleep(schedule.due(), &mut self.sleeper).await;
        }
    }

    fn tell<E: Failure>(&mut self, error: &E, number: u32, elapsed: Duration, next_delay: Duration)
    where
        J: Judge<E>,
    {
        let owner = self.judge.owner(error);
        self.trace.failed(number, error, owner, next_delay);
        (self.on_wait)(&Attempt { number, error, elapsed, next_delay, owner });
    }

    fn give_up<E: Failure>(self, reason: GaveUp, attempts: u32, last: Option<E>) -> RetryError<E>
    where
        J: Judge<E>,
    {
        let elapsed = self.sleeper.elapsed();
        let owner = last.as_ref().and_then(|error| self.judge.owner(error));
        let is_permanent = reason == GaveUp::Permanent;
        self.trace.gave_up(is_permanent, &reason, attempts, last.as_ref(), owner, elapsed);
        RetryError { reason, attempts, elapsed, last }
    }
}
