//! How a run sleeps between two attempts, and how a thread does so.

use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::retry::cancel::CancelToken;

/// How late a cancelled token may be noticed if the process has no file descriptors left to wait on it.
pub(super) const BLIND_SLEEP: Duration = Duration::from_millis(10);

/// What a sleep listens to.
pub(super) type Events<'a> = [Option<BorrowedFd<'a>>];

/// The clock of a run, and how it sleeps.
pub(super) trait Sleeper {
    /// The resolution of its clock.
    const TICK: Duration;

    /// The age of the run.
    fn elapsed(&self) -> Duration;

    fn is_cancelled(&self) -> bool;

    /// From now on a cancelled token ends no sleep, because the run must still leave the line.
    fn forget_token(&mut self);

    /// Whether it could not listen to all that it was asked to.
    fn is_deaf(&self) -> bool;

    /// Sleeps until the age of the run is `end`, its token is cancelled, or one of `events` is readable.
    /// Returns whether an event was.
    ///
    /// Compare ages instead of adding to an `Instant`, which panics with `Duration::MAX`.
    fn sleep(&mut self, end: Duration, events: &Events<'_>) -> impl Future<Output = bool>;
}

/// Sleeps as a thread, and is never pending.
pub(super) struct ThreadSleeper {
    started: Instant,
    token: Option<CancelToken>,
}

impl ThreadSleeper {
    pub(super) fn new(token: Option<CancelToken>) -> ThreadSleeper {
        ThreadSleeper { started: Instant::now(), token }
    }
}

impl Sleeper for ThreadSleeper {
    const TICK: Duration = Duration::ZERO;

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn forget_token(&mut self) {
        self.token = None;
    }

    fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    fn is_deaf(&self) -> bool {
        false
    }

    async fn sleep(&mut self, end: Duration, mut events: &Events<'_>) -> bool {
        let alarm = self.token.as_ref().and_then(CancelToken::alarm);
        let mut alarm = alarm.as_ref().map(|alarm| alarm.as_fd());
        loop {
            let mut left = end.saturating_sub(self.elapsed());
            if self.is_cancelled() || left.is_zero() {
                return false;
            }
            if self.token.is_some() && alarm.is_none() {
                left = left.min(BLIND_SLEEP);
            }
            let descriptors = alarm.into_iter().chain(events.iter().copied().flatten());
            let poll_fd = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
            let mut waited_for: Vec<_> = descriptors.map(poll_fd).collect();
            if waited_for.is_empty() {
                thread::sleep(left);
                continue;
            }
            // A time too long for a timespec means for ever.
            match poll(&mut waited_for, left.try_into().ok().as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_)
                    if waited_for[alarm.iter().len()..]
                        .iter()
                        .any(|it| !it.revents().is_empty()) =>
                {
                    return true;
                }
                // The alarm is readable, but the token is not cancelled: another process, with our pid in a
                // nested pid namespace, has cancelled its own. Without the alarm we notice a cancellation late;
                // with it we would spin.
                Ok(_) => alarm = None,
                Err(_) => (alarm, events) = (None, &[]),
            }
        }
    }
}

/// Runs to its end a future that is never pending, because its sleeper is a thread and its operation is ready.
pub(super) fn block<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a thread sleeps in the call"),
    }
}

impl CancelToken {
    /// Sleeps for `time` or until the token is cancelled, and returns whether it is.
    ///
    /// With it, a daemon's own loop needs no poll(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pidlockfile::retry::CancelToken;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let stop = CancelToken::new()?;
    /// # stop.cancel();
    /// while !stop.wait_timeout(Duration::from_secs(60)) {
    ///     // … the work that is due every minute …
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "it says whether to stop"]
    pub fn wait_timeout(&self, time: Duration) -> bool {
        block(ThreadSleeper::new(Some(self.clone())).sleep(time, &[]));
        self.is_cancelled()
    }
}
