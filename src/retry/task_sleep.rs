//! How a tokio task sleeps.

use std::future::poll_fn;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use crate::retry::cancel::CancelToken;
use crate::retry::sleep::{BLIND_SLEEP, Events, Sleeper};

/// Sleeps as a task, without blocking its thread.
pub(super) struct TaskSleeper {
    started: Instant,
    token: Option<CancelToken>,
    /// The token's descriptor; `None` before the first sleep, and if it cannot be watched.
    alarm: Option<AsyncFd<OwnedFd>>,
    is_first: bool,
    has_io: bool,
    is_deaf: bool,
}

impl TaskSleeper {
    /// # Panics
    ///
    /// Outside a runtime with time, in every run, even if it does not have to wait.
    #[track_caller]
    pub(super) fn new(token: Option<CancelToken>) -> TaskSleeper {
        drop(sleep(Duration::ZERO));
        TaskSleeper {
            started: Instant::now(),
            token,
            alarm: None,
            is_first: true,
            has_io: true,
            is_deaf: false,
        }
    }

    /// Lets the runtime watch a copy of a descriptor: epoll(7) refuses to watch one twice, and several runs may
    /// share a token.
    fn readable(&mut self, descriptor: BorrowedFd<'_>) -> Option<AsyncFd<OwnedFd>> {
        if !self.has_io {
            return None;
        }
        let descriptor = descriptor.try_clone_to_owned().ok()?;
        #[allow(deprecated, reason = "its successor is younger than the tokio that we ask for")]
        let watch = || AsyncFd::with_interest(descriptor, Interest::READABLE);
        // tokio panics in a runtime without I/O, and offers no way to ask.
        let watched = catch_unwind(AssertUnwindSafe(watch));
        self.has_io = watched.is_ok();
        watched.ok()?.ok()
    }
}

impl Sleeper for TaskSleeper {
    const TICK: Duration = Duration::from_millis(1);

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn forget_token(&mut self) {
        (self.token, self.alarm) = (None, None);
    }

    fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    async fn sleep(&mut self, end: Duration, events: &Events<'_>) -> bool {
        if std::mem::take(&mut self.is_first)
            && let Some(alarm) = self.token.as_ref().and_then(CancelToken::alarm)
        {
            self.alarm = self.readable(alarm.as_fd());
        }
        let asked_for = events.iter().flatten().count();
        let events = events.iter().copied().flatten();
        let events: Vec<_> = events.filter_map(|event| self.readable(event)).collect();
        self.is_deaf = events.len() < asked_for;
        loop {
            let mut left = end.saturating_sub(self.elapsed());
            if self.is_cancelled() || left.is_zero() {
                return false;
            }
            if self.token.is_some() && self.alarm.is_none() {
                left = left.min(BLIND_SLEEP);
            }
            let mut timer = pin!(sleep(left));
            // Whether the token's descriptor or an event ended the sleep; neither if the time was up.
            let (is_alarm, is_event) = poll_fn(|context| {
                // Poll all of them, so that each can wake the task.
                let mut are_ready = |all: &[AsyncFd<OwnedFd>]| {
                    let is_ready = |it: &&AsyncFd<_>| it.poll_read_ready(context).is_ready();
                    all.iter().filter(is_ready).count() > 0
                };
                let ready = (are_ready(self.alarm.as_slice()), are_ready(&events));
                if ready == (false, false) {
                    return timer.as_mut().poll(context).map(|()| ready);
                }
                Poll::Ready(ready)
            })
            .await;
            if is_event {
                return true;
            }
            if is_alarm {
                // The next turn of the loop checks whether the token is cancelled.
                self.alarm = None;
            }
        }
    }
}

impl CancelToken {
    /// Waits until the token is cancelled, for your own `select!`.
    ///
    /// It needs the feature `tokio`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::retry::CancelToken;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let stop = CancelToken::new()?;
    /// # stop.cancel();
    /// stop.cancelled().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        let mut sleeper = TaskSleeper::new(Some(self.clone()));
        while !self.is_cancelled() {
            sleeper.sleep(Duration::MAX, &[]).await;
        }
    }
}
