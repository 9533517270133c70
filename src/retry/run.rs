//! One run of a policy, with its hook and its token.

use std::borrow::Cow;
use std::future::ready;

use crate::retry::cancel::CancelToken;
use crate::retry::failure::{Attempt, RetryError};
use crate::retry::policy::RetryPolicy;
use crate::retry::sleep::{ThreadSleeper, block};
#[cfg(feature = "tokio")]
use crate::retry::task_sleep::TaskSleeper;
use crate::retry::temporary::{Again, Failure, Temporary};
use crate::retry::trace::Trace;
use crate::retry::try_lock::TryLock;
use crate::retry::wait::{Verdict, Wait};
use crate::retry::watch::Watch;

/// One run of a [`RetryPolicy`], to which a hook and a token can be added before it starts.
///
/// [`RetryPolicy::run`] creates it. If the hook or the operation panics, nothing stays locked.
///
/// # Examples
///
/// ```
/// use pidlockfile::Lockfile;
/// use pidlockfile::retry::{CancelToken, RetryPolicy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("retry.pid");
/// let token = CancelToken::new()?;
/// let _guard = RetryPolicy::daemon()
///     .run()
///     .on_new_owner(|attempt| eprintln!("waiting: {attempt}"))
///     .cancel_on(&token)
///     .acquire(&Lockfile::new(path)?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a run does nothing until `acquire` or `call` starts it"]
pub struct Retry<H = fn(&Attempt<'_>)> {
    policy: RetryPolicy,
    hook: H,
    token: Option<CancelToken>,
}

/// A run without a watch.
const NO_WATCH: Option<fn() -> Option<Watch>> = None;

impl RetryPolicy {
    /// Starts a run, to which a hook and a token can be added before it acquires.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::{Lockfile, retry::RetryPolicy};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("run.pid");
    /// let _guard = RetryPolicy::default()
    ///     .run()
    ///     .on_wait(|attempt| eprintln!("waiting: {attempt}"))
    ///     .acquire(&Lockfile::new(path)?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self) -> Retry {
        Retry { policy: *self, hook: |_| {}, token: None }
    }
}

impl<H> Retry<H> {
    /// Calls `hook` before each delay, but not when the run gives up. It replaces an earlier hook.
    pub fn on_wait<F: FnMut(&Attempt<'_>)>(self, hook: F) -> Retry<F> {
        Retry { policy: self.policy, hook, token: self.token }
    }

    /// Calls `hook` before the first delay, and again whenever the lock has another [holder](Attempt::holder)
    /// than before: a log line for each owner, not for each attempt. It replaces an earlier hook.
    pub fn on_new_owner(
        self,
        mut hook: impl FnMut(&Attempt<'_>),
    ) -> Retry<impl FnMut(&Attempt<'_>)> {
        let mut last = None;
        self.on_wait(move |attempt: &Attempt<'_>| {
            let holder = Some(attempt.holder().map(str::to_owned));
            if last != holder {
                last = holder;
                hook(attempt);
            }
        })
    }

    /// Ends the run when `token` is cancelled: before the next attempt, during a delay, or while the run waits
    /// for a lock service's answer.
    pub fn cancel_on(self, token: &CancelToken) -> Retry<H> {
        Retry { token: Some(token.clone()), ..self }
    }
}

impl<H: FnMut(&Attempt<'_>)> Retry<H> {
    /// Takes the lock, trying again as the policy says.
    ///
    /// # Errors
    ///
    /// [`RetryError`], with the reason for giving up and the last error of `try_lock`.
    pub fn acquire<L: TryLock>(self, lock: &L) -> Result<L::Guard, RetryError<L::Error>> {
        let wait = self.wait(Verdict::of, ThreadSleeper::new, lock.name());
        block(wait.run(|| ready(lock.try_lock()), Some(|| lock.watch()), lock.line_up()))
    }

    /// Calls `operation` until it succeeds, trying again as the policy says.
    ///
    /// # Errors
    ///
    /// [`RetryError`], with the reason for giving up and the last error of `operation`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    ///
    /// use pidlockfile::retry::RetryPolicy;
    ///
    /// # fn main() -> io::Result<()> {
    /// let mut answers = [Err(io::Error::from(io::ErrorKind::WouldBlock)), Ok(42)].into_iter();
    /// let answer = RetryPolicy::default().run().call(|| answers.next().unwrap())?;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<T, E: Temporary>(
        self,
        mut operation: impl FnMut() -> Result<T, E>,
    ) -> Result<T, RetryError<E>> {
        let wait = self.wait(Verdict::of, ThreadSleeper::new, None);
        block(wait.run(|| ready(operation()), NO_WATCH, None))
    }

    /// Calls `operation` until it succeeds, trying again as long as `again` says so for its error.
    ///
    /// `again` returns a `bool`, or an [`Again`] with the delay that a server has asked for.
    ///
    /// # Errors
    ///
    /// [`RetryError`], with the reason for giving up and the last error of `operation`.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::retry::{Again, RetryPolicy};
    /// # use std::time::Duration;
    /// # #[derive(Debug, thiserror::Error)]
    /// # #[error("status {status}")]
    /// # struct Refused { status: u16, retry_after: Option<Duration> }
    /// # fn get() -> Result<&'static str, Refused> { Ok("page") }
    ///
    /// let page = RetryPolicy::default().run().call_when(get, |refused| match refused.retry_after {
    ///     Some(delay) => Again::After(delay),
    ///     None => Again::from(refused.status >= 500),
    /// });
    /// assert_eq!(page.unwrap(), "page");
    /// ```
    pub fn call_when<T, E: Failure, A: Into<Again>>(
        self,
        mut operation: impl FnMut() -> Result<T, E>,
        mut again: impl FnMut(&E) -> A,
    ) -> Result<T, RetryError<E>> {
        let wait = self.wait(|error: &E| again(error).into().into(), ThreadSleeper::new, None);
        block(wait.run(|| ready(operation()), NO_WATCH, None))
    }

    fn wait<J, S>(
        self,
        judge: J,
        sleeper: impl FnOnce(Option<CancelToken>) -> S,
        lock: Option<Cow<'_, str>>,
    ) -> Wait<'_, H, J, S> {
        let Retry { policy, hook, token } = self;
        Wait { policy, hook, judge, sleeper: sleeper(token), trace: Trace::of(lock) }
    }
}

#[cfg(feature = "tokio")]
impl<H: FnMut(&Attempt<'_>)> Retry<H> {
    /// Takes the lock as [`acquire`](Retry::acquire) does, without blocking the thread.
    ///
    /// Dropping the future ends the run and leaves nothing locked. Use the policy's time limit and not
    /// `tokio::time::timeout`: the policy's error names the holder of the lock. `try_lock` runs on the task's
    /// thread: for a [`Lockfile`](crate::Lockfile) it takes microseconds and never blocks. If a lock service
    /// takes longer to answer, [`line_up`](TryLock::line_up) keeps it from blocking the thread. Pass a clone of
    /// the lock, or an [`Arc`](std::sync::Arc) of it, if the future must be `'static`.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Retry::acquire).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time. In a runtime without I/O, an event is noticed late or never.
    pub async fn acquire_async<L: TryLock>(
        self,
        lock: L,
    ) -> Result<L::Guard, RetryError<L::Error>> {
        let wait = self.wait(Verdict::of, TaskSleeper::new, lock.name());
        wait.run(|| ready(lock.try_lock()), Some(|| lock.watch()), lock.line_up()).await
    }

    /// Awaits `operation` until it succeeds, trying again as the policy says.
    ///
    /// The run checks the token before each attempt and during each delay. Neither the token nor the deadline
    /// interrupts the operation itself.
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
    pub async fn call_async<T, E: Temporary, F: Future<Output = Result<T, E>>>(
        self,
        operation: impl FnMut() -> F,
    ) -> Result<T, RetryError<E>> {
        self.wait(Verdict::of, TaskSleeper::new, None).run(operation, NO_WATCH, None).await
    }

    /// Awaits `operation` as [`call_async`](Retry::call_async) does, trying again as long as `again` says so
    /// for its error, as in [`call_when`](Retry::call_when).
    ///
    /// # Errors
    ///
    /// As [`call_when`](Retry::call_when).
    ///
    /// # Panics
    ///
    /// As [`acquire_async`](Retry::acquire_async).
    pub async fn call_when_async<
        T,
        E: Failure,
        A: Into<Again>,
        F: Future<Output = Result<T, E>>,
    >(
        self,
        operation: impl FnMut() -> F,
        mut again: impl FnMut(&E) -> A,
    ) -> Result<T, RetryError<E>> {
        self.wait(|error: &E| again(error).into().into(), TaskSleeper::new, None)
            .run(operation, NO_WATCH, None)
            .await
    }
}
