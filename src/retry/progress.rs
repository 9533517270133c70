//! What happens between an attempt and the sleep after it, for the sync run and the async one alike.

use std::time::Duration;

use crate::retry::decision::{Decision, Next};
use crate::retry::trace::Trace;
use crate::retry::{Attempt, GaveUp, RetryError, RetryPolicy, Temporary};

/// A run as far as it has come, and whom it tells.
pub(super) struct Progress<'a, E, H> {
    pub(super) policy: &'a RetryPolicy,
    decision: Decision<'a>,
    on_wait: H,
    last: Option<E>,
    trace: Trace,
}

/// The sleep that follows a failed attempt.
#[derive(Clone, Copy)]
pub(super) struct Sleep {
    /// Which attempt it was.
    pub(super) number: u32,
    /// How old the run was when it failed.
    elapsed: Duration,
    pub(super) delay: Duration,
}

impl Sleep {
    /// How old the run is to be when it tries again.
    ///
    /// An age and not a delay: what the hook takes is not added to the sleep, and so the deadline holds.
    pub(super) fn end(self) -> Duration {
        self.elapsed.saturating_add(self.delay)
    }
}

impl<'a, E, H> Progress<'a, E, H> {
    pub(super) fn new(policy: &'a RetryPolicy, on_wait: H) -> Progress<'a, E, H> {
        let decision = Decision::new(policy);
        Progress { policy, decision, on_wait, last: None, trace: Trace::new() }
    }

    pub(super) fn with_hook<F>(self, on_wait: F) -> Progress<'a, E, F> {
        let Progress { policy, decision, last, trace, .. } = self;
        Progress { policy, decision, on_wait, last, trace }
    }

    pub(super) fn succeeded(&self) {
        self.trace.succeeded(self.decision.attempts().saturating_add(1));
    }

    /// The attempt that had failed has succeeded, because it asked twice.
    pub(super) fn succeeded_after_all(&self) {
        self.trace.succeeded(self.decision.attempts());
    }

    pub(super) fn cancelled(self, elapsed: Duration) -> RetryError<E> {
        let Progress { decision, last, .. } = self;
        RetryError { reason: GaveUp::Cancelled, attempts: decision.attempts(), elapsed, last }
    }
}

impl<E: Temporary, H: FnMut(&Attempt<'_, E>)> Progress<'_, E, H> {
    /// How long to sleep, or why the run ends. An attempt is `early` if news of the lock brought it about.
    pub(super) fn failed(
        &mut self,
        error: E,
        elapsed: Duration,
        early: bool,
    ) -> Result<Sleep, RetryError<E>> {
        match self.decision.after_failure(error.is_temporary(), elapsed, early) {
            Next::GiveUp(reason) => Err(self.give_up(reason, error, elapsed)),
            Next::Sleep(delay) => {
                self.last = Some(error);
                Ok(Sleep { number: self.decision.attempts(), elapsed, delay })
            }
        }
    }

    /// The attempt that had failed has asked once more, and this is its answer.
    pub(super) fn failed_again(
        &mut self,
        error: E,
        elapsed: Duration,
    ) -> Result<(), RetryError<E>> {
        if !error.is_temporary() {
            return Err(self.give_up(GaveUp::Permanent, error, elapsed));
        }
        self.last = Some(error);
        Ok(())
    }

    /// Tells whoever listens of the sleep.
    pub(super) fn sleeps(&mut self, sleep: Sleep) {
        let Some(error) = &self.last else {
            return;
        };
        let Sleep { number, elapsed, delay: next_delay } = sleep;
        self.trace.failed(number, error.owner(), Some(next_delay));
        (self.on_wait)(&Attempt { number, error, elapsed, next_delay });
    }

    fn give_up(&mut self, reason: GaveUp, error: E, elapsed: Duration) -> RetryError<E> {
        let attempts = self.decision.attempts();
        self.trace.failed(attempts, error.owner(), None);
        RetryError { reason, attempts, elapsed, last: Some(error) }
    }
}
