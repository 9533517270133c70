//! Ending a wait from outside: from another thread, or from a signal handler.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;
use std::{process, thread};

/// Ends the waits that it is passed to.
///
/// Clones share one state: cancelling one of them cancels all, for good. A run checks the token before every
/// attempt, and a sleep ends as soon as the token is cancelled.
///
/// [`cancel`](CancelToken::cancel) may be called from a signal handler. A thread that waits for
/// signals, as in `examples/daemon.rs`, needs no `unsafe` for it.
///
/// # Forked children
///
/// A child made by fork(2) has its own token, in the state of the parent's at the time of the fork: if the
/// parent was told to stop, so is the child. After that, neither cancels the other.
///
/// # Examples
///
/// ```
/// use pidlockfile::Lockfile;
/// use pidlockfile::retry::{CancelToken, GaveUp, RetryPolicy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("cancel.pid");
/// let lockfile = Lockfile::new(path)?;
/// let _held = lockfile.try_lock()?;
///
/// let token = CancelToken::new()?;
/// let stop = token.clone();
/// let waiter = std::thread::spawn(move || {
///     RetryPolicy::daemon().run().cancel_on(&token).acquire(&lockfile)
/// });
/// stop.cancel();
/// assert_eq!(waiter.join().unwrap().unwrap_err().reason, GaveUp::Cancelled);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

struct Shared {
    /// fork(2) copies memory, so each process has its own flag. A pipe would be shared.
    cancelled: AtomicBool,
    /// The alarm of the process that made the token, for poll loops.
    first: Arc<Alarm>,
    /// Wakes the waits of this process. A forked child replaces its parent's alarm by its own, which closes its
    /// copy of the parent's.
    current: Mutex<Arc<Alarm>>,
    /// The alarms of forked processes, for poll loops. Each entry is filled only by the process whose pid is in
    /// it: in a child that lacks the thread that was about to fill it, filling it could block for ever.
    lent: [(AtomicU32, OnceLock<Arc<Alarm>>); GENERATIONS],
}

/// How many generations of forked processes can each lend their own alarm.
const GENERATIONS: usize = 16;

/// The pipe by which a process wakes its own waits.
pub(super) struct Alarm {
    pid: u32,
    reader: PipeReader,
    writer: PipeWriter,
    is_rung: AtomicBool,
}

impl CancelToken {
    /// Creates a token that is not cancelled. It keeps two file descriptors open until its last clone is
    /// dropped.
    ///
    /// # Errors
    ///
    /// The operating system's error, if the process has no file descriptors left.
    pub fn new() -> io::Result<CancelToken> {
        let first = Arc::new(Alarm::new()?);
        let current = Mutex::new(Arc::clone(&first));
        let (cancelled, lent) = Default::default();
        Ok(CancelToken { shared: Arc::new(Shared { cancelled, first, current, lent }) })
    }

    /// Cancels everything to which this token or a clone of it was given. A second call does nothing.
    ///
    /// It is async-signal-safe: it stores a flag and writes one byte to a pipe that is never full.
    pub fn cancel(&self) {
        if self.shared.cancelled.swap(true, Ordering::SeqCst) {
            return;
        }
        // Pairs with the fence in `alarm`: either we find the alarm of a wait that is just beginning, or that
        // wait finds our flag. A wait that is just getting its alarm, and so keeps the mutex from us, finds the
        // flag, too.
        fence(Ordering::SeqCst);
        if let Some(current) = lock(&self.shared.current, 1)
            && current.pid == process::id()
        {
            current.ring();
        }
    }

    /// Returns whether the token was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// This process's alarm, created now if the token came from a parent; `None` if there are no file
    /// descriptors left for it. Check the flag after this, not before.
    pub(super) fn alarm(&self) -> Option<Arc<Alarm>> {
        let pid = process::id();
        let mut current = lock(&self.shared.current, PATIENTLY)?;
        if current.pid != pid {
            *current = Arc::new(Alarm::new().ok()?);
        }
        let alarm = Arc::clone(&current);
        drop(current);
        fence(Ordering::SeqCst);
        if self.is_cancelled() {
            alarm.ring();
        }
        Some(alarm)
    }

    fn lent(&self) -> Option<&Alarm> {
        let pid = process::id();
        let alarm = self.alarm()?;
        let Shared { first, lent, .. } = &*self.shared;
        if first.pid == pid {
            return Some(first);
        }
        for (place, lent) in lent {
            let owner = place.load(Ordering::SeqCst);
            if owner == pid
                && let Some(alarm) = lent.get()
            {
                return Some(alarm);
            }
            // Several threads may each fill an entry, with the same alarm.
            let claim = || place.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst);
            if owner == 0 && claim().is_ok() {
                return Some(lent.get_or_init(|| alarm));
            }
        }
        None
    }
}

impl Alarm {
    fn new() -> io::Result<Alarm> {
        let (reader, writer) = io::pipe()?;
        Ok(Alarm { pid: process::id(), reader, writer, is_rung: false.into() })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Nobody reads the byte, so the pipe stays readable.
    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            // A failure could not be handled here.
            let _ = (&self.writer).write(&[0]);
        }
    }
}

/// Tries `tries` times to lock what other threads hold for some microseconds. It must not wait for ever: in a
/// child that was forked during those, nobody unlocks the mutex.
pub(super) fn lock<T>(mutex: &Mutex<T>, tries: u32) -> Option<MutexGuard<'_, T>> {
    for tried in 0..tries {
        match mutex.try_lock() {
            Ok(locked) => return Some(locked),
            Err(TryLockError::Poisoned(locked)) => return Some(locked.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(tried.into())),
        }
    }
    None
}

/// About a tenth of a second, long enough for a thread that holds the lock to get the processor again.
pub(super) const PATIENTLY: u32 = 400;

/// The descriptor is readable once the token is cancelled, for your own poll loop. Do not read from it.
///
/// In a forked child, call `as_fd` again. If the child has no file descriptors left for its own, or if many
/// generations before it have asked, this returns the descriptor of the process that made the token.
impl AsFd for CancelToken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lent().unwrap_or(&self.shared.first).as_fd()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
