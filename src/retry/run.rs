//! One run of a policy: its hooks, and the loop that sleeps between attempts.

use std::time::Instant;

use crate::retry::progress::Progress;
use crate::retry::wake::Wake;
use crate::retry::{
    Attempt, CancelToken, RetryError, RetryPolicy, Temporary, TryLock, Watch, wait,
};

/// One run of a [`RetryPolicy`], to which hooks can be added before it starts.
///
/// [`RetryPolicy::run`] makes one. A panic in a hook or in the operation unwinds through the run and
/// leaves nothing locked.
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
///     .on_wait(|attempt| {
///         if attempt.number == 1 {
///             eprintln!("waiting for process {:?}", attempt.owner());
///         }
///     })
///     .cancel_on(&token)
///     .acquire(&Lockfile::new(path)?)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a run does nothing until `acquire` or `call` starts it"]
pub struct Retry<'a, E, H = fn(&Attempt<'_, E>)> {
    pub(super) progress: Progress<'a, E, H>,
    pub(super) token: Option<&'a CancelToken>,
}

impl<'a, E> Retry<'a, E> {
    pub(super) fn new(policy: &'a RetryPolicy) -> Retry<'a, E> {
        Retry { progress: Progress::new(policy, |_| {}), token: None }
    }
}

impl<'a, E, H> Retry<'a, E, H> {
    /// Calls `hook` before each sleep, and never on giving up. It replaces an earlier hook.
    ///
    /// The hook can print, match and hand on the error as it is. To call a method of it, give the
    /// parameter its type: `|attempt: &Attempt<'_, pidlockfile::Error>|`.
    pub fn on_wait<F: FnMut(&Attempt<'_, E>)>(self, hook: F) -> Retry<'a, E, F> {
        Retry { progress: self.progress.with_hook(hook), token: self.token }
    }

    /// Ends the run when `token` is cancelled: before the next attempt, or in the middle of a sleep.
    pub fn cancel_on(self, token: &'a CancelToken) -> Retry<'a, E, H> {
        Retry { token: Some(token), ..self }
    }
}

impl<E: Temporary, H: FnMut(&Attempt<'_, E>)> Retry<'_, E, H> {
    /// Takes the lock, trying again as the policy says.
    ///
    /// # Errors
    ///
    /// [`RetryError`], with the reason for giving up and the last error of `try_lock`.
    pub fn acquire<L: TryLock<Error = E>>(self, lock: &L) -> Result<L::Guard, RetryError<E>> {
        self.drive(|| lock.try_lock(), || lock.watch())
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
    pub fn call<T>(self, operation: impl FnMut() -> Result<T, E>) -> Result<T, RetryError<E>> {
        self.drive(operation, || None)
    }

    fn drive<T>(
        mut self,
        mut operation: impl FnMut() -> Result<T, E>,
        source: impl Fn() -> Option<Watch>,
    ) -> Result<T, RetryError<E>> {
        let started = Instant::now();
        let mut wake = Wake::new(self.progress.policy, source);
        let mut early = false;
        loop {
            if self.token.is_some_and(CancelToken::is_cancelled) {
                return Err(self.progress.cancelled(started.elapsed()));
            }
            let error = match operation() {
                Ok(value) => {
                    self.progress.succeeded();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let sleep = self.progress.failed(error, started.elapsed(), early)?;
            if wake.listen_from_now(sleep) {
                match operation() {
                    Ok(value) => {
                        self.progress.succeeded_after_all();
                        return Ok(value);
                    }
                    Err(error) => self.progress.failed_again(error, started.elapsed())?,
                }
            }
            self.progress.sleeps(sleep);
            early = wait::until(started, sleep.end(), self.token, &mut wake);
        }
    }
}
