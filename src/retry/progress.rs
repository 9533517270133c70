//! What happens between an attempt and the sleep after it, for the sync run and the async one alike.

use std::time::Duration;

use crate::retry::decision::{Decision, Next};
use crate::retry::trace::Trace;
use crate::retry::{Attempt, GaveUp, RetryError, RetryPolicy, Temporary};

/// A run as far as it has come, and whom it tells.
pub(super) struct Progress<'a, E, H> {
    decision: Decision<'a>,
    on_wait: H,
    last: Option<E>,
    trace: Trace,
}

impl<'a, E, H> Progress<'a, E, H> {
    pub(super) fn new(policy: &'a RetryPolicy, on_wait: H) -> Progress<'a, E, H> {
        Progress { decision: Decision::new(policy), on_wait, last: None, trace: Trace::new() }
    }

    pub(super) fn with_hook<F>(self, on_wait: F) -> Progress<'a, E, F> {
        Progress { decision: self.decision, on_wait, last: self.last, trace: self.trace }
    }

    pub(super) fn succeeded(&self) {
        self.trace.succeeded(self.decision.attempts() + 1);
    }

    pub(super) fn cancelled(self, elapsed: Duration) -> RetryError<E> {
        let Progress { decision, last, .. } = self;
        RetryError { reason: GaveUp::Cancelled, attempts: decision.attempts(), elapsed, last }
    }
}

impl<E: Temporary, H: FnMut(&Attempt<'_, E>)> Progress<'_, E, H> {
    /// How old the run is to be when it tries again, or why it does not.
    ///
    /// An age and not a delay: what the hook takes is not added to the sleep, and so the deadline holds.
    pub(super) fn failed(
        &mut self,
        error: E,
        elapsed: Duration,
    ) -> Result<Duration, RetryError<E>> {
        let next = self.decision.after_failure(error.is_temporary(), elapsed);
        let number = self.decision.attempts();
        match next {
            Next::GiveUp(reason) => {
                self.trace.failed(number, error.owner(), None);
                Err(RetryError { reason, attempts: number, elapsed, last: Some(error) })
            }
            Next::Sleep(next_delay) => {
                self.trace.failed(number, error.owner(), Some(next_delay));
                (self.on_wait)(&Attempt { number, error: &error, elapsed, next_delay });
                self.last = Some(error);
                Ok(elapsed.saturating_add(next_delay))
            }
        }
    }
}
