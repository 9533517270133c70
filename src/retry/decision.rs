//! What follows a failed attempt. No clock, no sleep, no input or output: time is what it is told.

use std::iter;
use std::time::Duration;

use crate::retry::schedule::Schedule;
use crate::retry::{GaveUp, RetryPolicy};

/// What to do after a failed attempt.
pub(super) enum Next {
    Sleep(Duration),
    GiveUp(GaveUp),
}

/// One run of a policy, as far as it has come.
pub(super) struct Decision<'a> {
    policy: &'a RetryPolicy,
    attempts: u32,
    /// How many of them the schedule did not ask for.
    early: u32,
    /// How old the run is when its present sleep ends.
    end: Duration,
    schedule: Option<Schedule>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(policy: &'a RetryPolicy) -> Decision<'a> {
        Decision { policy, attempts: 0, early: 0, end: Duration::ZERO, schedule: None }
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// `elapsed` is the time since the run began. An attempt is `early` if it was made before the end of
    /// the sleep; that sleep then goes on, so that nobody's news can use up a run or change its delays.
    pub(super) fn after_failure(
        &mut self,
        is_temporary: bool,
        elapsed: Duration,
        early: bool,
    ) -> Next {
        self.attempts = self.attempts.saturating_add(1);
        if !is_temporary {
            return Next::GiveUp(GaveUp::Permanent);
        }
        if early {
            self.early = self.early.saturating_add(1);
            return Next::Sleep(self.end.saturating_sub(elapsed));
        }
        if self.policy.max_attempts.is_some_and(|limit| self.attempts - self.early >= limit) {
            return Next::GiveUp(GaveUp::Attempts);
        }
        let left = match self.policy.max_elapsed {
            None => Duration::MAX,
            Some(limit) => limit.saturating_sub(elapsed),
        };
        if left.is_zero() {
            return Next::GiveUp(GaveUp::Deadline);
        }
        let schedule = self.schedule.get_or_insert_with(|| Schedule::new(self.policy));
        // Cut, so that the last attempt is made at the deadline and not a whole delay before it.
        let delay = schedule.next().min(left);
        self.end = elapsed.saturating_add(delay);
        Next::Sleep(delay)
    }
}

/// The sleeps of a run whose attempts all fail, and take no time.
pub(super) fn delays(policy: &RetryPolicy) -> impl Iterator<Item = Duration> + Send + use<'_> {
    let mut decision = Decision::new(policy);
    let mut elapsed = Duration::ZERO;
    iter::from_fn(move || match decision.after_failure(true, elapsed, false) {
        Next::Sleep(delay) => {
            elapsed = elapsed.saturating_add(delay);
            Some(delay)
        }
        Next::GiveUp(_) => None,
    })
}
