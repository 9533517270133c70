//! Ending a wait from outside: from another thread, or from a signal handler.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::iter;
use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};

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
    first: Alarm,
}

/// The pipe by which one process wakes its own waits, and the alarms of processes forked from it.
struct Alarm {
    pid: u32,
    reader: PipeReader,
    writer: PipeWriter,
    next: OnceLock<Box<Alarm>>,
}

impl CancelToken {
    /// Makes a token that is not cancelled. It keeps two file descriptors until its last clone is
    /// dropped.
    ///
    /// # Errors
    ///
    /// The operating system's, if the process has used up its file descriptors.
    pub fn new() -> io::Result<CancelToken> {
        let first = Alarm::new()?;
        Ok(CancelToken { shared: Arc::new(Shared { cancelled: AtomicBool::new(false), first }) })
    }

    /// Cancels all that was given this token or a clone of it. A second call does nothing.
    ///
    /// It is async-signal-safe: it stores a flag and writes one byte to a pipe that is never full.
    pub fn cancel(&self) {
        if self.shared.cancelled.swap(true, Ordering::SeqCst) {
            return;
        }
        // Pairs with the fence in `own_alarm`: either we find the alarm of a wait that begins just now, or
        // that wait finds our flag.
        fence(Ordering::SeqCst);
        if let Some(alarm) = self.shared.alarm_of(process::id()) {
            alarm.ring();
        }
    }

    /// Returns whether the token was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// This process's alarm, which is made now if the token came here by a fork; `None` if there are
    /// no file descriptors left for it. The flag must be looked at after this.
    pub(super) fn own_alarm(&self) -> Option<BorrowedFd<'_>> {
        let pid = process::id();
        if let Some(alarm) = self.shared.alarm_of(pid) {
            return Some(alarm.reader.as_fd());
        }
        let mut alarm = Box::new(Alarm::new().ok()?);
        for last in self.shared.alarms() {
            // Refused where another thread was faster: then its alarm is next in the list.
            match last.next.set(alarm) {
                Ok(()) => break,
                Err(refused) => alarm = refused,
            }
        }
        fence(Ordering::SeqCst);
        let alarm = self.shared.alarm_of(pid)?;
        if self.is_cancelled() {
            alarm.ring();
        }
        Some(alarm.reader.as_fd())
    }
}

impl Shared {
    fn alarms(&self) -> impl Iterator<Item = &Alarm> {
        iter::successors(Some(&self.first), |alarm| alarm.next.get().map(|next| &**next))
    }

    fn alarm_of(&self, pid: u32) -> Option<&Alarm> {
        self.alarms().find(|alarm| alarm.pid == pid)
    }
}

impl Alarm {
    fn new() -> io::Result<Alarm> {
        let (reader, writer) = io::pipe()?;
        Ok(Alarm { pid: process::id(), reader, writer, next: OnceLock::new() })
    }

    fn ring(&self) {
        // Nobody reads the byte, so the pipe stays readable. Nothing can go wrong that could be mended here.
        let _ = (&self.writer).write(&[0]);
    }
}

/// Readable once the token is cancelled, for a poll loop of the caller's own. Nothing must be read
/// from it.
///
/// In a forked child, ask again for the descriptor. Where the child has no file descriptors left for
/// one of its own, it is the parent's.
impl AsFd for CancelToken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own_alarm().unwrap_or(self.shared.first.reader.as_fd())
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
