//! The `tracing` output: a span for the wait, an event for each attempt and for giving up.

#![cfg_attr(not(feature = "tracing"), allow(unused, clippy::all, clippy::pedantic))]

use std::borrow::Cow;
use std::fmt::Display;

use crate::retry::failure::{Attempt, RetryError};

#[cfg(feature = "tracing")]
const TARGET: &str = "pidlockfile::retry";

/// Emits an event, or does nothing without the feature.
macro_rules! event {
    ($level:ident, $($fields:tt)*) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!(target: TARGET, $($fields)*);
    }};
}

#[derive(Default)]
pub(super) struct Trace<'a> {
    /// The name of the lock, which tells its events from other locks'.
    lock: Option<Cow<'a, str>>,
    #[cfg(feature = "tracing")]
    wait: Option<tracing::Span>,
}

/// Reports that no event will end the next delays early.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn unwatched(error: impl Display) {
    event!(debug, %error, "no events of the lock");
}

impl Trace<'_> {
    pub(super) fn of(lock: Option<Cow<'_, str>>) -> Trace<'_> {
        Trace { lock, ..Trace::default() }
    }

    pub(super) fn failed(&mut self, attempt: &Attempt<'_>) {
        let lock = self.lock.as_deref();
        let Attempt { number, error, holder, next_delay, .. } = attempt;
        #[cfg(feature = "tracing")]
        self.wait.get_or_insert_with(|| tracing::debug_span!(target: TARGET, "wait", lock));
        self.within(|| {
            event!(debug, lock, attempt = number, holder, %error, delay = ?next_delay, "attempt failed");
        });
    }

    pub(super) fn succeeded(&self, attempt: u32) {
        let lock = self.lock.as_deref();
        self.within(|| event!(debug, lock, attempt, "attempt succeeded"));
    }

    pub(super) fn gave_up<E: Display>(&self, error: &RetryError<E>, holder: Option<&str>) {
        let lock = self.lock.as_deref();
        let is_permanent = error.is_permanent();
        let RetryError { reason, attempts, elapsed, last } = error;
        #[cfg(feature = "tracing")]
        let error = last.as_ref().map(tracing::field::display);
        self.within(|| {
            if is_permanent {
                event!(error, lock, ?reason, attempts, holder, error, ?elapsed, "gave up");
            } else {
                event!(warn, lock, ?reason, attempts, holder, error, ?elapsed, "gave up");
            }
        });
    }

    // Enter the span only for the event: an async run's thread does other work while the run sleeps.
    fn within(&self, event: impl FnOnce()) {
        #[cfg(feature = "tracing")]
        self.wait.as_ref().unwrap_or(&tracing::Span::none()).in_scope(event);
    }
}
