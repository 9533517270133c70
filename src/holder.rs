//! The process that holds the lock, proven by the kernel: to show it, stop it, or wait for its end.

mod process;
#[cfg(feature = "tokio")]
mod wait_async;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::holder::process::{Doubt, Process, Signal};
use crate::incumbent::{self, Incumbent};
use crate::lockfile::Lockfile;
#[cfg(feature = "retry")]
use crate::retry::CancelToken;

/// How often to look again because the file or its record has changed.
const MAX_LOOKS: usize = 16;

/// How many looks must leave a doubt: another attempt can hold the kernel lock, for some microseconds.
const DOUBTFUL_LOOKS: usize = 4;

/// How late a cancelled token may be noticed in a forked child that has no file descriptors left.
#[cfg(feature = "retry")]
const BLIND_WAIT: Duration = Duration::from_secs(1);

/// The process that holds the lock, as [`Lockfile::holder`] has proven it.
///
/// It refers to the process by a pidfd and not by a number: once that process has ended, nothing here reaches
/// another process that got the same pid. For any other signal, use the pidfd, which [`AsFd`] lends.
///
/// # Examples
///
/// Stop a daemon, and kill it if it does not end within five seconds:
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("stop.pid");
/// let lockfile = pidlockfile::Lockfile::new(path)?;
/// if let Some(holder) = lockfile.holder()? {
///     holder.terminate()?;
///     if !holder.wait(Some(Duration::from_secs(5)))? {
///         holder.kill()?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Holder {
    path: Arc<Path>,
    process: Arc<Process>,
}

/// The result of one look at the lock.
enum Look {
    Nobody,
    Proven(Holder),
    /// The lock is held or honoured, but the recorded process is not proven to hold it, for this reason.
    Doubtful(Error),
    /// The file or its record changed during the look.
    Changed,
}

impl Lockfile {
    /// Finds the process that holds the lock, and proves that it does; `None` if nobody holds the lock.
    ///
    /// [`owner`](Lockfile::owner) reports what the record says. This method asks the kernel: the process must
    /// have the file that the path names open, with the kernel lock, while the file records its pid. It never
    /// returns a process that got a killed owner's pid, a process that has that pid in another container, a
    /// reader of the file, a child of a killed owner, or an attempt to lock. After
    /// [`adopt`](crate::LockGuard::adopt) the holder is the adopter.
    ///
    /// It also tells whether the lock is held: `None` means that it is not, and an
    /// [`Unproven`](Error::Unproven) error that it is, or may be.
    ///
    /// # What others see
    ///
    /// While the lock is held, or if there is no file, other processes notice nothing. On a stale file this
    /// method holds a shared kernel lock for a moment, and a `try_lock` in that moment gets
    /// [`Busy`](Error::Busy), as it does during any other attempt. Where the file system has no `O_TMPFILE`,
    /// the same can happen to a file that is just being created.
    ///
    /// # Errors
    ///
    /// - [`Unproven`](Error::Unproven): the lock is held, but the system does not show by which process; or the
    ///   record names a running process without a kernel lock, as a script does.
    /// - [`Unreadable`](Error::Unreadable), [`NotAFile`](Error::NotAFile),
    ///   [`NotAPidFile`](Error::NotAPidFile), [`NotExist`](Error::NotExist) and [`Io`](Error::Io) as in
    ///   [`try_lock`](Lockfile::try_lock).
    ///
    /// # Platform-specific behavior
    ///
    /// The proof needs a pidfd (Linux 5.3) and /proc. Without them a held lock is `Unproven`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("holder.pid");
    /// let lockfile = pidlockfile::Lockfile::new(path)?;
    /// assert!(lockfile.holder()?.is_none());
    /// let _guard = lockfile.try_lock()?;
    /// # if cfg!(target_os = "linux") {
    /// assert_eq!(lockfile.holder()?.map(|holder| holder.pid()), Some(std::process::id()));
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn holder(&self) -> Result<Option<Holder>, Error> {
        let mut doubts = 0;
        for _ in 0..MAX_LOOKS {
            match self.look_for_holder() {
                Ok(Look::Nobody) => return Ok(None),
                Ok(Look::Proven(holder)) => return Ok(Some(holder)),
                Ok(Look::Doubtful(error)) => {
                    doubts += 1;
                    if doubts == DOUBTFUL_LOOKS {
                        return Err(error);
                    }
                }
                Ok(Look::Changed) => {}
                Err(error) if incumbent::is_gone(&error) || error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::NotExist { path: self.path().to_owned() })
    }

    fn look_for_holder(&self) -> Result<Look, Error> {
        let path = self.path();
        let Some(file) = incumbent::glance(path)? else {
            return Ok(Look::Nobody);
        };
        // Open the pidfd before anything else is asked of the process: if the pid is recycled later, the pidfd
        // shows that its process has ended.
        let process = file.recorded_pid().map(Process::open);
        if !file.is_locked_by_another(path)? {
            return self.look_at_unlocked(&file);
        }
        let proof = match process {
            None => Err(Doubt::NoPid),
            Some(Err(doubt)) => Err(doubt),
            Some(Ok(process)) => process.proves_to_hold(&file).map(|()| process),
        };
        // The record must still be the one that was read before the process was examined.
        if !file.is_as_before(path)? {
            return Ok(Look::Changed);
        }
        match proof {
            // The last step: /proc goes by the number, and showed this process only if it has not ended.
            Ok(process) if process.has_ended() => Ok(self.doubt(&file, &Doubt::Ended)),
            Ok(process) => Ok(Look::Proven(Holder { path: path.into(), process: process.into() })),
            Err(Doubt::Io(action, source)) => Err(Error::io(action, path)(source)),
            Err(doubt) => Ok(self.doubt(&file, &doubt)),
        }
    }

    /// The owner of a file without a kernel lock, by the rule of [`try_lock`](Lockfile::try_lock).
    fn look_at_unlocked(&self, file: &Incumbent) -> Result<Look, Error> {
        if !file.is_as_before(self.path())? {
            return Ok(Look::Changed);
        }
        match self.check_stale(file) {
            Ok(()) => Ok(Look::Nobody),
            Err(Error::Busy { .. }) => Ok(self.doubt(file, &Doubt::NoKernelLock)),
            Err(error) => Err(error),
        }
    }

    fn doubt(&self, file: &Incumbent, doubt: &Doubt) -> Look {
        let (path, pid) = (self.path().to_owned(), file.recorded_pid());
        Look::Doubtful(Error::Unproven { path, pid, reason: doubt.reason() })
    }
}

impl Holder {
    /// Returns its pid, for people and logs. Do not signal that number: it may soon belong to another process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks the process to end, by SIGTERM. If it has already ended, that is no error.
    ///
    /// # Errors
    ///
    /// [`Io`](Error::Io) if this user may not signal it.
    pub fn terminate(&self) -> Result<(), Error> {
        self.signal(Signal::TERM)
    }

    /// Ends the process, by SIGKILL. If it has already ended, that is no error.
    ///
    /// The lock file stays behind, and the next [`try_lock`](Lockfile::try_lock) removes it. The process takes
    /// a moment to end: [`wait`](Holder::wait) for that.
    ///
    /// # Errors
    ///
    /// [`Io`](Error::Io) if this user may not signal it.
    pub fn kill(&self) -> Result<(), Error> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.process.signal(signal).map_err(Error::io("signal the holder of", &self.path))
    }

    /// Waits until the process has ended, and returns `false` if `limit` passes first. `None` waits for ever.
    ///
    /// A process can release its lock long before it ends, and it can leave a child that keeps the lock: to
    /// know whether the lock is free, ask [`holder`](Lockfile::holder) again.
    ///
    /// # Errors
    ///
    /// [`Io`](Error::Io) if the system is out of memory. A signal that this process handles neither ends the
    /// wait nor changes the limit.
    pub fn wait(&self, limit: Option<Duration>) -> Result<bool, Error> {
        self.process.wait(limit, None).map_err(self.wait_error())
    }

    /// Waits as [`wait`](Holder::wait) does, but returns `false` as soon as `token` is cancelled.
    ///
    /// # Errors
    ///
    /// As [`wait`](Holder::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::retry::CancelToken;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("cancel.pid");
    /// # let lockfile = pidlockfile::Lockfile::new(path)?;
    /// # let _guard = lockfile.try_lock()?;
    /// # if cfg!(target_os = "linux") {
    /// let holder = lockfile.holder()?.expect("this process holds the lock");
    /// let token = CancelToken::new()?; // a signal handler or another thread calls token.cancel()
    /// # token.cancel();
    /// assert!(!holder.wait_or_cancelled(None, &token)?);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "retry")]
    pub fn wait_or_cancelled(
        &self,
        limit: Option<Duration>,
        token: &CancelToken,
    ) -> Result<bool, Error> {
        let started = std::time::Instant::now();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let turn = left.map_or(BLIND_WAIT, |left| left.min(BLIND_WAIT));
            // Take the descriptor first: a token that is cancelled after that makes it readable.
            let alarm = token.as_fd();
            let turn = if token.is_cancelled() { Duration::ZERO } else { turn };
            let ended = self.process.wait(Some(turn), Some(alarm)).map_err(self.wait_error())?;
            if ended || token.is_cancelled() || left.is_some_and(|left| left.is_zero()) {
                return Ok(ended);
            }
        }
    }

    fn wait_error(&self) -> impl FnOnce(std::io::Error) -> Error {
        Error::io("wait for the holder of", &self.path)
    }
}

/// The pidfd. It is readable once the process has ended, for your own poll loop, and `pidfd_send_signal(2)` can
/// send any other signal through it.
impl AsFd for Holder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}
