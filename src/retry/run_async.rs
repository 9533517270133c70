//! The same run under tokio: it gives up the thread where the other one sleeps.

use std::future::{poll_fn, ready};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use crate::retry::wait::BLIND_SLEEP;
use crate::retry::wake::Wake;
use crate::retry::watch::Listen;
use crate::retry::{Attempt, CancelToken, Retry, RetryError, Temporary, TryLock, Watch};

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
    /// When it has to wait outside a tokio runtime, or in one without time, or without I/O; the last
    /// only if the policy [wakes on release](crate::retry::RetryPolicyBuilder::wake_on_release) or after
    /// [`cancel_on`](Retry::cancel_on).
    pub async fn acquire_async<L: TryLock<Error = E>>(
        self,
        lock: &L,
    ) -> Result<L::Guard, RetryError<E>> {
        self.drive_async(|| ready(lock.try_lock()), || lock.watch()).await
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
    /// As [`acquire_async`](Retry::acquire_async); there is no news to wake on.
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
    pub async fn call_async<T, F>(self, operation: impl FnMut() -> F) -> Result<T, RetryError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.drive_async(operation, || None).await
    }

    async fn drive_async<T, F>(
        mut self,
        mut operation: impl FnMut() -> F,
        source: impl Fn() -> Option<Watch>,
    ) -> Result<T, RetryError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let started = Instant::now();
        let mut wake = Wake::new(self.progress.policy, source);
        let mut early = false;
        let mut alarm = None;
        loop {
            if self.token.is_some_and(CancelToken::is_cancelled) {
                return Err(self.progress.cancelled(started.elapsed()));
            }
            let error = match operation().await {
                Ok(value) => {
                    self.progress.succeeded();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let sleep = self.progress.failed(error, started.elapsed(), early)?;
            if wake.listen_from_now(sleep) {
                match operation().await {
                    Ok(value) => {
                        self.progress.succeeded_after_all();
                        return Ok(value);
                    }
                    Err(error) => self.progress.failed_again(error, started.elapsed())?,
                }
            }
            self.progress.sleeps(sleep);
            let alarm = alarm.get_or_insert_with(|| Alarm::new(self.token));
            early = until(started, sleep.end(), alarm, &mut wake).await;
        }
    }
}

/// What tokio's timers count in.
const TICK: Duration = Duration::from_millis(1);

/// As `wait::until`.
async fn until<S: Fn() -> Option<Watch>>(
    started: Instant,
    end: Duration,
    alarm: &mut Alarm<'_>,
    wake: &mut Wake<S>,
) -> bool {
    loop {
        let nap = wake.nap();
        let elapsed = started.elapsed();
        let nap_end = nap.end(elapsed, end);
        // Rounded up, it would end after those of all that need not round.
        let is_too_short = nap.listen == Listen::Nothing
            && nap_end < end
            && nap_end.saturating_sub(elapsed) < TICK;
        let woken = !is_too_short && alarm.sleep(started, nap_end, wake.watch(), nap.listen).await;
        if !wake.sleeps_on(woken, started.elapsed()) {
            return woken || nap_end < end;
        }
    }
}

/// A token, and its descriptor as the runtime watches it: `None` if it cannot be watched.
struct Alarm<'a> {
    token: Option<&'a CancelToken>,
    descriptor: Option<AsyncFd<OwnedFd>>,
}

impl Alarm<'_> {
    fn new(token: Option<&CancelToken>) -> Alarm<'_> {
        Alarm { token, descriptor: token.and_then(|token| Alarm::watch(token).ok()) }
    }

    /// A copy, because epoll(7) refuses to watch one descriptor twice, and several runs may share a token.
    fn watch(token: &CancelToken) -> io::Result<AsyncFd<OwnedFd>> {
        let alarm = token.own_alarm().ok_or(io::ErrorKind::Other)?;
        readable(alarm.try_clone_to_owned()?)
    }

    /// Whether it was `watch` that ended it.
    async fn sleep(
        &mut self,
        started: Instant,
        end: Duration,
        watch: Option<&Watch>,
        listen: Listen,
    ) -> bool {
        if listen == Listen::All && watch.is_some_and(Watch::is_spent) {
            return true;
        }
        let news = watch.into_iter().flat_map(|watch| watch.descriptors(listen));
        let news: Vec<_> = news.filter_map(|news| readable(news).ok()).collect();
        loop {
            let mut left = end.saturating_sub(started.elapsed());
            if self.token.is_some_and(CancelToken::is_cancelled) || left.is_zero() {
                return false;
            }
            if self.token.is_some() && self.descriptor.is_none() {
                left = left.min(BLIND_SLEEP);
            }
            let mut timer = pin!(sleep(left));
            let woken = poll_fn(|context| {
                if self.descriptor.iter().any(|alarm| alarm.poll_read_ready(context).is_ready()) {
                    return Poll::Ready(By::Alarm);
                }
                // All are polled, so that each can wake the task.
                let ready = news.iter().filter(|news| news.poll_read_ready(context).is_ready());
                if ready.count() > 0 {
                    return Poll::Ready(By::News);
                }
                timer.as_mut().poll(context).map(|()| By::Timer)
            });
            match woken.await {
                By::News => return true,
                By::Timer => {}
                // The next turn of the loop tells whether the token is cancelled, as it should be.
                By::Alarm => self.descriptor = None,
            }
        }
    }
}

/// What ended a sleep.
enum By {
    Alarm,
    News,
    Timer,
}

#[allow(deprecated, reason = "its successor is younger than the tokio that we ask for")]
fn readable<T: AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
