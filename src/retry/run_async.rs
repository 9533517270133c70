//! The same run under tokio: it gives up the thread where the other one sleeps.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use crate::retry::wait::BLIND_SLEEP;
use crate::retry::{Attempt, CancelToken, Retry, RetryError, Temporary, TryLock};

impl<E: Temporary, H: FnMut(&Attempt<'_, E>)> Retry<'_, E, H> {
    /// Takes the lock, trying again as the policy says, and gives up the thread while it sleeps.
    ///
    /// Dropping the future ends the run and leaves nothing locked. `try_lock` runs inline: for a
    /// [`Lockfile`](crate::Lockfile) it takes microseconds and never blocks. For a lock whose
    /// `try_lock` does block, use [`call_async`](Retry::call_async).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Retry::acquire).
    ///
    /// # Panics
    ///
    /// When it has to wait outside a tokio runtime, or in one without time, or, after
    /// [`cancel_on`](Retry::cancel_on), without I/O.
    pub async fn acquire_async<L: TryLock<Error = E>>(
        self,
        lock: &L,
    ) -> Result<L::Guard, RetryError<E>> {
        self.call_async(|| std::future::ready(lock.try_lock())).await
    }

    /// Awaits `operation` until it succeeds, trying again as the policy says.
    ///
    /// Cancellation is looked at before each attempt and during each sleep; it does not interrupt the
    /// operation itself. The deadline does not either.
    ///
    /// # Errors
    ///
    /// As [`call`](Retry::call).
    ///
    /// # Panics
    ///
    /// As [`acquire_async`](Retry::acquire_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    ///
    /// use pidlockfile::retry::RetryPolicy;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> io::Result<()> {
    /// let mut answers = [Err(io::Error::from(io::ErrorKind::WouldBlock)), Ok(42)].into_iter();
    /// let ask = || {
    ///     let answer = answers.next().unwrap();
    ///     async move { answer }
    /// };
    /// assert_eq!(RetryPolicy::default().run().call_async(ask).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_async<T, F>(
        mut self,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, RetryError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let started = Instant::now();
        let mut alarm = None;
        loop {
            if self.token.is_some_and(CancelToken::is_cancelled) {
                return Err(self.progress.cancelled(started.elapsed()));
            }
            match operation().await {
                Ok(value) => {
                    self.progress.succeeded();
                    return Ok(value);
                }
                Err(error) => {
                    let end = self.progress.failed(error, started.elapsed())?;
                    if let Some(token) = self.token {
                        let alarm = alarm.get_or_insert_with(|| Alarm::new(token));
                        alarm.until(started, end, token).await;
                    } else {
                        sleep(end.saturating_sub(started.elapsed())).await;
                    }
                }
            }
        }
    }
}

/// A token's descriptor as the runtime watches it; `None` if it cannot be watched.
struct Alarm(Option<AsyncFd<OwnedFd>>);

impl Alarm {
    fn new(token: &CancelToken) -> Alarm {
        Alarm(Alarm::watch(token).ok())
    }

    /// A copy, because epoll(7) refuses to watch one descriptor twice, and several runs may share a token.
    #[allow(deprecated, reason = "its successor is younger than the tokio that we ask for")]
    fn watch(token: &CancelToken) -> io::Result<AsyncFd<OwnedFd>> {
        let alarm = token.own_alarm().ok_or(io::ErrorKind::Other)?;
        AsyncFd::with_interest(alarm.try_clone_to_owned()?, Interest::READABLE)
    }

    /// As `wait::until`.
    async fn until(&mut self, started: Instant, end: Duration, token: &CancelToken) {
        loop {
            let left = end.saturating_sub(started.elapsed());
            if token.is_cancelled() || left.is_zero() {
                return;
            }
            let Some(alarm) = &self.0 else {
                sleep(left.min(BLIND_SLEEP)).await;
                continue;
            };
            let mut timer = pin!(sleep(left));
            let rang = poll_fn(|context| {
                if alarm.poll_read_ready(context).is_ready() {
                    return Poll::Ready(true);
                }
                timer.as_mut().poll(context).map(|()| false)
            })
            .await;
            if rang && !token.is_cancelled() {
                self.0 = None;
            }
        }
    }
}
