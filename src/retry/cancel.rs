//! Ending a wait from outside: from another thread, or from a signal handler.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;
use std::{process, thread};

/// Ends the waits that it was given to.
///
/// Clones share one state: cancelling any of them cancels all, for good. A run looks at the token
/// before every attempt, and a sleep ends at once.
///
/// [`cancel`](CancelToken::cancel) may be called from a signal handler. A thread that waits for
/// signals, as in `examples/daemon.rs`, needs no `unsafe` for it.
///
/// # Forked children
///
/// A child made by fork(2) has a token of its own: it starts as the parent's was at the time of the
/// fork, so that a process told to stop does not fork one that goes on. From then on, neither
/// cancels the other.
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
    /// Memory is copied by fork(2), so this flag is each process's own. A pipe would be shared.
    cancelled: AtomicBool,
    /// What the process that made the token lends to poll loops.
    first: Arc<Alarm>,
    /// What wakes the waits of this process. A forked child puts its own in the place of its parent's, which is
    /// closed with that.
    current: Mutex<Arc<Alarm>>,
    /// What forked processes lend. A place is filled by the process whose pid is in it, and by no other: to fill
    /// one that another thread is about to fill could block for ever, in a child that lacks this thread.
    lent: [(AtomicU32, OnceLock<Arc<Alarm>>); GENERATIONS],
}

/// How many of a process and its ancestors, each forked from the one before, can lend an alarm of their own.
const GENERATIONS: usize = 16;

/// The pipe by which a process wakes its own waits.
pub(super) struct Alarm {
    pid: u32,
    reader: PipeReader,
    writer: PipeWriter,
    is_rung: AtomicBool,
}

impl CancelToken {
    /// Makes a token that is not cancelled. It keeps two file descriptors until its last clone is
    /// dropped.
    ///
    /// # Errors
    ///
    /// The operating system's, if the process has used up its file descriptors.
    pub fn new() -> io::Result<CancelToken> {
        let first = Arc::new(Alarm::new()?);
        let current = Mutex::new(Arc::clone(&first));
        let (cancelled, lent) = Default::default();
        Ok(CancelToken { shared: Arc::new(Shared { cancelled, first, current, lent }) })
    }

    /// Cancels all that was given this token or a clone of it. A second call does nothing.
    ///
    /// It is async-signal-safe: it stores a flag and writes one byte to a pipe that is never full.
    pub fn cancel(&self) {
        if self.shared.cancelled.swap(true, Ordering::SeqCst) {
            return;
        }
        // Pairs with the fence in `alarm`: either we find the alarm of a wait that begins just now, or that wait
        // finds our flag. So does one that is just now looking for its alarm, and keeps us from ours.
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

    /// This process's alarm, which is made now if the token came here by a fork; `None` if there are
    /// no file descriptors left for it. The flag must be looked at after this.
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
            // Of several threads each fills a place, with the same alarm.
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
            // Nothing can go wrong that could be mended here.
            let _ = (&self.writer).write(&[0]);
        }
    }
}

/// Tries so often to lock what others hold for some microseconds. In a child that was forked in these, it is held
/// for ever: so it is not waited for without end.
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

/// For a tenth of a second, in which one that holds it gets the processor again.
pub(super) const PATIENTLY: u32 = 400;

/// Readable once the token is cancelled, for a poll loop of the caller's own. Nothing must be read
/// from it.
///
/// In a forked child, ask again for the descriptor. Where the child has no file descriptors left for
/// one of its own, or if many generations before it have asked, it is the descriptor of the process that made
/// the token.
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
