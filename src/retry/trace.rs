//! What a subscriber of `tracing` sees: a span for the wait, an event for each attempt and for giving up.

#[cfg(feature = "tracing")]
pub(super) use on::{Trace, unwatched};

#[cfg(not(feature = "tracing"))]
pub(super) use off::{Trace, unwatched};

#[cfg(feature = "tracing")]
mod on {
    use std::borrow::Cow;
    use std::fmt::{Debug, Display};
    use std::time::Duration;

    use tracing::field::{debug, display};
    use tracing::{Span, debug, debug_span, error, warn};

    const TARGET: &str = "pidlockfile::retry";

    pub(in crate::retry) struct Trace<'a> {
        /// The name of the lock, by which its events are told from those of others.
        lock: Option<Cow<'a, str>>,
        wait: Option<Span>,
    }

    /// No event will end the next delays.
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code))]
    pub(in crate::retry) fn unwatched(error: impl Display) {
        debug!(target: TARGET, %error, "no events of the lock");
    }

    impl Trace<'_> {
        pub(in crate::retry) fn of(lock: Option<Cow<'_, str>>) -> Trace<'_> {
            Trace { lock, wait: None }
        }

        pub(in crate::retry) fn failed(
            &mut self,
            attempt: u32,
            error: impl Display,
            pid: Option<u32>,
            delay: Duration,
        ) {
            let lock = self.lock.as_deref();
            let wait = self.wait.get_or_insert_with(|| debug_span!(target: TARGET, "wait", lock));
            wait.in_scope(
                || debug!(target: TARGET, lock, attempt, pid, %error, ?delay, "attempt failed"),
            );
        }

        pub(in crate::retry) fn succeeded(&self, attempt: u32) {
            let lock = self.lock.as_deref();
            self.within(|| debug!(target: TARGET, lock, attempt, "attempt succeeded"));
        }

        pub(in crate::retry) fn gave_up(
            &self,
            is_permanent: bool,
            reason: impl Debug,
            attempts: u32,
            error: Option<impl Display>,
            pid: Option<u32>,
            elapsed: Duration,
        ) {
            let lock = self.lock.as_deref();
            let error = error.as_ref().map(display);
            let (reason, elapsed) = (debug(reason), debug(elapsed));
            self.within(|| {
                if is_permanent {
                    error!(target: TARGET, lock, reason, attempts, pid, error, elapsed, "gave up");
                } else {
                    warn!(target: TARGET, lock, reason, attempts, pid, error, elapsed, "gave up");
                }
            });
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
    use std::borrow::Cow;
    use std::fmt::{Debug, Display};
    use std::marker::PhantomData;
    use std::time::Duration;

    pub(in crate::retry) struct Trace<'a>(PhantomData<&'a ()>);

    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code))]
    pub(in crate::retry) fn unwatched(_error: impl Display) {}

    #[expect(clippy::unused_self, reason = "the signatures of the one that does something")]
    impl Trace<'_> {
        pub(in crate::retry) fn of(_lock: Option<Cow<'_, str>>) -> Trace<'_> {
            Trace(PhantomData)
        }

        pub(in crate::retry) fn failed(
            &mut self,
            _attempt: u32,
            _error: impl Display,
            _pid: Option<u32>,
            _delay: Duration,
        ) {
        }

        pub(in crate::retry) fn succeeded(&self, _attempt: u32) {}

        pub(in crate::retry) fn gave_up(
            &self,
            _is_permanent: bool,
            _reason: impl Debug,
            _attempts: u32,
            _error: Option<impl Display>,
            _pid: Option<u32>,
            _elapsed: Duration,
        ) {
        }
    }
}
