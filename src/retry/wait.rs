//! The loop of a run: an attempt, a decision, a sleep. [`wake_up`](crate::retry::wake_up) is the sleep.

use std::borrow::Cow;
use std::task::Poll;
use std::time::Duration;

use crate::retry::failure::{Attempt, GaveUp, RetryError};
use crate::retry::policy::RetryPolicy;
use crate::retry::schedule::{Cause, Schedule};
use crate::retry::sleep::Sleeper;
use crate::retry::temporary::{Again, Failure, Temporary};
use crate::retry::trace::Trace;
use crate::retry::try_lock::BoxedPlace;
use crate::retry::wake_up::{self, RECHECK, WakeUp};
use crate::retry::watch::Watch;

/// How long an attempt may still take after the deadline, so that the last attempt, or the only one of a run
/// without time, can succeed. It is also how long a run that gives up waits for its place to leave the line.
const LEAST_TIME: Duration = Duration::from_millis(200);

/// What a run must know about an error.
pub(super) struct Verdict {
    again: Again,
    owner: Option<u32>,
    holder: Option<String>,
    is_shortage: bool,
}

impl Verdict {
    /// Asks the error itself.
    pub(super) fn of(error: &impl Temporary) -> Verdict {
        let again = match error.retry_after() {
            Some(delay) if error.is_temporary() => Again::After(delay),
            _ => error.is_temporary().into(),
        };
        let holder = error.holder().map(Cow::into_owned);
        Verdict { again, owner: error.owner(), holder, is_shortage: error.is_shortage() }
    }
}

impl From<Again> for Verdict {
    fn from(again: Again) -> Verdict {
        Verdict { again, owner: None, holder: None, is_shortage: false }
    }
}

/// A run before its start.
pub(super) struct Wait<'a, H, J, S> {
    pub(super) policy: RetryPolicy,
    pub(super) hook: H,
    pub(super) judge: J,
    pub(super) sleeper: S,
    pub(super) trace: Trace<'a>,
}

impl<H: FnMut(&Attempt<'_>), J, S: Sleeper> Wait<'_, H, J, S> {
    /// Calls `operation` until it succeeds or the policy gives up. `source` creates a watch on a lock. A run
    /// with a place asks the place instead of both.
    pub(super) async fn run<T, E, F>(
        mut self,
        mut operation: impl FnMut() -> F,
        source: Option<impl Fn() -> Option<Watch>>,
        mut place: Option<BoxedPlace<'_, T, E>>,
    ) -> Result<T, RetryError<E>>
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
        J: FnMut(&E) -> Verdict,
    {
        let mut wake_up = WakeUp::new(source.filter(|_| self.policy.wake_on_release));
        let mut schedule = Schedule::new(self.policy);
        let mut cause = Cause::Schedule;
        let (mut last, mut holder, mut elapsed) = (None, None, Duration::ZERO);
        let (reason, last) = loop {
            if self.sleeper.is_cancelled() {
                break (GaveUp::Cancelled, last);
            }
            let answer = match &mut place {
                None => Poll::Ready(operation().await),
                Some(place) => self.ask(place).await,
            };
            let error = match answer {
                Poll::Ready(Ok(value)) => {
                    self.trace.succeeded(schedule.attempts + u32::from(cause != Cause::Watch));
                    return Ok(value);
                }
                Poll::Ready(Err(error)) => error,
                Poll::Pending => {
                    schedule.attempts += 1;
                    let is_cancelled = self.sleeper.is_cancelled();
                    break (if is_cancelled { GaveUp::Cancelled } else { GaveUp::Deadline }, last);
                }
            };
            let mut verdict = (self.judge)(&error);
            holder = verdict.holder;
            if verdict.is_shortage && last.is_some() {
                // Our own watch may have taken the last descriptor.
                wake_up.give_up_watch();
                verdict.again = Again::Scheduled;
            }
            if place.is_some() && !self.policy.wake_on_release && verdict.again != Again::Never {
                // The place asks for a long delay since it is told of its turn, and this run listens to nothing.
                verdict.again = Again::Scheduled;
            }
            if cause != Cause::Watch {
                elapsed = self.sleeper.elapsed();
            }
            let next_delay = match schedule.after_failure(cause, verdict.again, elapsed) {
                // Before the hook, which would announce an attempt that never follows.
                Ok(_) if self.sleeper.is_cancelled() => break (GaveUp::Cancelled, Some(error)),
                Ok(delay) => delay,
                Err(reason) => break (reason, Some(error)),
            };
            if wake_up.puts_up_watch(next_delay) {
                cause = Cause::Watch;
            } else {
                let (number, owner, holder) = (schedule.attempts, verdict.owner, holder.as_deref());
                self.tell(&Attempt { number, error: &error, elapsed, next_delay, owner, holder });
                cause = match place.as_ref().map(|place| place.as_fd()) {
                    Some(place) if self.policy.wake_on_release => {
                        wake_up::sleep_in_line(place, schedule.due, &mut self.sleeper).await
                    }
                    _ => wake_up.sleep(schedule.due, &mut self.sleeper).await,
                };
            }
            last = Some(error);
        };
        if let Some(place) = &mut place {
            self.leave(place).await;
        }
        let attempts = schedule.attempts;
        let error = RetryError { reason, attempts, elapsed: self.sleeper.elapsed(), last };
        self.trace.gave_up(&error, holder.as_deref());
        Err(error)
    }

    /// Asks `place` until it answers; pending if the token or the deadline comes first.
    async fn ask<T, E>(&mut self, place: &mut BoxedPlace<'_, T, E>) -> Poll<Result<T, E>> {
        let least = self.sleeper.elapsed().saturating_add(LEAST_TIME);
        let deadline = self.policy.max_elapsed.unwrap_or(Duration::MAX).max(least);
        loop {
            let answer = place.poll_lock();
            let now = self.sleeper.elapsed();
            if answer.is_ready() || self.sleeper.is_cancelled() || now >= deadline {
                return answer;
            }
            let until = now.saturating_add(RECHECK).min(deadline);
            self.sleeper.sleep(until, &[Some(place.as_fd())]).await;
        }
    }

    async fn leave<T, E>(&mut self, place: &mut BoxedPlace<'_, T, E>) {
        self.sleeper.forget_token();
        let deadline = self.sleeper.elapsed().saturating_add(LEAST_TIME);
        while place.poll_leave().is_pending() && self.sleeper.elapsed() < deadline {
            self.sleeper.sleep(deadline, &[Some(place.as_fd())]).await;
        }
    }

    fn tell(&mut self, attempt: &Attempt<'_>) {
        self.trace.failed(attempt);
        (self.hook)(attempt);
    }
}
