//! What a subscriber of `tracing` sees: a span for the wait, an event for each attempt.

#[cfg(feature = "tracing")]
pub(super) use on::Trace;

#[cfg(not(feature = "tracing"))]
pub(super) use off::Trace;

#[cfg(feature = "tracing")]
mod on {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    use std::fmt::Display;
    use std::time::Duration;

    use tracing::{Span, debug, debug_span};

    const TARGET: &str = "pidlockfile::retry";

    pub(in crate::retry) struct Trace {
        wait: Option<Span>,
    }

    impl Trace {
        pub(in crate::retry) fn new() -> Trace {
            Trace { wait: None }
        }

        /// The next sleep hears no news.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        pub(in crate::retry) fn unwatched(error: impl Display) {
            debug!(target: TARGET, %error, "no news of the lock");
        }

        /// `delay` is `None` if no attempt follows.
        pub(in crate::retry) fn failed(
            &mut self,
            attempt: u32,
            pid: Option<u32>,
            delay: Option<Duration>,
        ) {
            if delay.is_some() && self.wait.is_none() {
                self.wait = Some(debug_span!(target: TARGET, "wait"));
            }
            let delay = delay.map(tracing::field::debug);
            self.within(|| debug!(target: TARGET, attempt, pid, delay, "attempt failed"));
        }

        pub(in crate::retry) fn succeeded(&self, attempt: u32) {
            self.within(|| debug!(target: TARGET, attempt, "attempt succeeded"));
        }

        // Never entered for longer: an async run's thread does other work while the run sleeps.
        fn within(&self, event: impl FnOnce()) {
            match &self.wait {
                Some(span) => span.in_scope(event),
                None => event(),
            }
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use std::time::Duration;

    pub(in crate::retry) struct Trace;

    impl Trace {
        pub(in crate::retry) fn new() -> Trace {
            Trace
        }

        #[cfg(any(target_os = "linux", target_os = "android"))]
        pub(in crate::retry) fn unwatched(_error: impl std::fmt::Display) {}

        #[expect(clippy::unused_self, reason = "the signature of the one that does something")]
        pub(in crate::retry) fn failed(
            &mut self,
            _attempt: u32,
            _pid: Option<u32>,
            _delay: Option<Duration>,
        ) {
        }

        #[expect(clippy::unused_self, reason = "the signature of the one that does something")]
        pub(in crate::retry) fn succeeded(&self, _attempt: u32) {}
    }
}
