//! Events of a lock file on Linux, by inotify(7), and of its owner, by a pidfd.
//!
//! One inotify instance serves all waits of a process, because the kernel allows a user only 128 by default.
//! Every wait polls it. A wait that reads an event passes it on to each wait on that file, and wakes that wait
//! by its eventfd.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, mem, process};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::incumbent;
use crate::retry::cancel::{PATIENTLY, lock};
use crate::retry::trace;
use crate::retry::watch::{Event, Watch, Watched};

/// The process's instance. It is kept for the next wait, because closing it takes the kernel up to 20 ms.
static INSTANCE: Mutex<Option<Instance>> = Mutex::new(None);

struct Instance {
    /// A forked child has a copy, and needs its own instance.
    pid: u32,
    inotify: OwnedFd,
    waits: Arc<Mutex<Vec<Arc<Wait>>>>,
}

/// No other descriptor has these flags. The number alone proves nothing: a program may have closed every
/// descriptor, and a thread may have its own table; then the number can refer to a stranger's file.
///
/// `ASYNC` sends no signal, because no process is set to get it.
const MARK: OFlags = OFlags::APPEND.union(OFlags::NONBLOCK).union(OFlags::ASYNC);

#[derive(Debug)]
struct Wait {
    /// inotify's number for the watch of its file.
    id: AtomicI32,
    /// What has happened to that file: `NOTHING`, `CLOSED` or `OTHER`.
    pending: AtomicU8,
    /// An eventfd, written when an event is pending.
    waker: OwnedFd,
}

const NOTHING: u8 = 0;
const CLOSED: u8 = 1;
const OTHER: u8 = 2;
/// inotify numbers its watches from 1.
const NO_WATCH: i32 = 0;

/// A watch on the inode that a path named, and on the process that its record names.
#[derive(Debug)]
struct FileWatch {
    path: Box<Path>,
    pid: u32,
    /// Our own duplicate, because each task of a runtime must register a different number.
    inotify: OwnedFd,
    waits: Arc<Mutex<Vec<Arc<Wait>>>>,
    wait: Arc<Wait>,
    owner: Option<OwnedFd>,
}

/// Watches a lock file and the process that its record names.
pub(super) fn watch_file(path: &Path) -> Option<Watch> {
    match FileWatch::new(path).and_then(FileWatch::begin) {
        Ok(watch) => Some(watch),
        Err(error) => {
            trace::unwatched(error);
            // Other waits may lack just this instance.
            give_back();
            None
        }
    }
}

/// Closes the instance if no wait needs it.
pub(super) fn give_back() {
    let Some(mut instance) = lock(&INSTANCE, PATIENTLY) else { return };
    if instance.as_ref().is_some_and(|it| it.is_there() && Arc::strong_count(&it.waits) == 1) {
        *instance = None;
    }
}

impl FileWatch {
    fn new(path: &Path) -> io::Result<FileWatch> {
        let (pid, path) = (process::id(), path.into());
        let mut instance = lock(&INSTANCE, PATIENTLY).ok_or(io::ErrorKind::WouldBlock)?;
        if !instance.as_ref().is_some_and(|it| it.pid == pid && it.is_there()) {
            // A parent's instance is closed, which is quick while the parent still has it open.
            if let Some(stranger) = instance.take().filter(|it| !it.is_there()) {
                mem::forget(stranger.inotify);
            }
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            fcntl_setfl(&inotify, MARK)?;
            *instance = Some(Instance { pid, inotify, waits: Arc::default() });
        }
        let Instance { inotify, waits, .. } = instance.as_ref().ok_or(io::ErrorKind::Other)?;
        let inotify = fcntl_dupfd_cloexec(inotify, 0)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let wait = Arc::new(Wait { id: NO_WATCH.into(), pending: NOTHING.into(), waker });
        let waits = Arc::clone(waits);
        lock(&waits, PATIENTLY).ok_or(io::ErrorKind::WouldBlock)?.push(Arc::clone(&wait));
        Ok(FileWatch { path, pid, inotify, waits, wait, owner: None })
    }

    /// Watches the file that the path now names.
    ///
    /// Watching the same inode again changes nothing in the kernel. Removing the watch first would make the
    /// kernel free it later (SRCU), and the close of every other instance waits for that. A killed owner could
    /// so keep its pid for up to 20 ms.
    fn begin(mut self) -> io::Result<Watch> {
        self.owner = None;
        let waits = lock(&self.waits, PATIENTLY).ok_or(io::ErrorKind::WouldBlock)?;
        // Before the new watch and not after it: the newly watched inode may be removed at once, and have a
        // successor when the lock is tried. That event must not be lost.
        self.pass_on(&waits);
        self.wait.pending.store(NOTHING, Ordering::SeqCst);
        // A removal changes the link count (ATTRIB), and a rename (MOVE_SELF) counts as one. When an owner is
        // killed, its last writable descriptor is closed (CLOSE_WRITE). DELETE_SELF, because ATTRIB can wake us
        // just before the name is gone.
        let mut events = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        if !incumbent::looks_write() {
            events |= WatchFlags::CLOSE_WRITE;
        }
        let added =
            inotify::add_watch(&self.inotify, &*self.path, events | WatchFlags::DONT_FOLLOW);
        let id = *added.as_ref().unwrap_or(&NO_WATCH);
        let old = self.wait.id.swap(id, Ordering::SeqCst);
        if old != id {
            self.remove(old, &waits);
        }
        drop(waits);
        match added {
            // The file has just gone, which is an event by itself.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            // Read the record after the watch is up: a later change of the record raises an event.
            Ok(_) => self.owner = end_of_owner(&self.path),
        }
        Ok(Watch(Box::new(self)))
    }

    /// Removes a watch that no wait needs any more.
    fn remove(&self, id: i32, waits: &[Arc<Wait>]) {
        if id != NO_WATCH && !waits.iter().any(|wait| wait.id.load(Ordering::SeqCst) == id) {
            // It fails if the inode is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.inotify, id);
        }
    }

    fn is_our_own(&self) -> bool {
        self.pid == process::id()
    }

    /// Whether it can raise no event. A child forked in the middle of a wait must not wait on the instance that
    /// its parent reads.
    fn is_spent(&self) -> bool {
        !self.is_our_own() || self.wait.id.load(Ordering::SeqCst) == NO_WATCH
    }

    /// Reads all events, and passes each to the waits on its file.
    fn pass_on(&self, waits: &[Arc<Wait>]) {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = events.next() {
            let all = event.events() == ReadFlags::QUEUE_OVERFLOW;
            let pending = if event.events() == ReadFlags::CLOSE_WRITE { CLOSED } else { OTHER };
            for wait in waits {
                if all || wait.id.load(Ordering::SeqCst) == event.wd() {
                    wait.pending.fetch_max(pending, Ordering::SeqCst);
                    if !Arc::ptr_eq(wait, &self.wait) {
                        let _ = write(&wait.waker, &1_u64.to_ne_bytes());
                    }
                }
            }
        }
    }
}

impl Watched for FileWatch {
    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        if self.is_spent() {
            return [None; 3];
        }
        [Some(self.inotify.as_fd()), Some(self.wait.waker.as_fd()), self.owner()]
    }

    fn owner(&self) -> Option<BorrowedFd<'_>> {
        self.owner.as_ref().map(OwnedFd::as_fd)
    }

    fn event(&self) -> Option<Event> {
        if self.is_spent() {
            return Some(Event::Other);
        }
        if self.owner.as_ref().is_some_and(has_ended) {
            return Some(Event::Ended);
        }
        // If another wait is just reading, it passes our event on.
        if let Some(waits) = lock(&self.waits, PATIENTLY) {
            self.pass_on(&waits);
        }
        match self.wait.take() {
            NOTHING => None,
            CLOSED => Some(Event::Closed),
            _ => Some(Event::Other),
        }
    }

    fn renew(self: Box<Self>, source: &dyn Fn() -> Option<Watch>) -> Option<Watch> {
        if self.is_our_own()
            && let Ok(watch) = self.begin()
        {
            return Some(watch);
        }
        source()
    }
}

impl Instance {
    fn is_there(&self) -> bool {
        fcntl_getfl(&self.inotify).is_ok_and(|flags| flags.contains(MARK))
    }
}

impl Wait {
    fn take(&self) -> u8 {
        let pending = self.pending.swap(NOTHING, Ordering::SeqCst);
        if pending != NOTHING {
            return pending;
        }
        // In this order, an event that comes in between wakes us once too often, and not once too little.
        let _ = read(&self.waker, &mut [0; 8]);
        self.pending.swap(NOTHING, Ordering::SeqCst)
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // A child only closes its copies: the watch is its parent's.
        if self.is_our_own()
            && let Some(mut waits) = lock(&self.waits, PATIENTLY)
        {
            waits.retain(|wait| !Arc::ptr_eq(wait, &self.wait));
            self.remove(self.wait.id.load(Ordering::SeqCst), &waits);
        }
    }
}

/// A pidfd of the process that is recorded in the file at `path`. It becomes readable when that process ends.
///
/// A killed owner's file is closed a moment before its kernel lock is free, and a pid-only owner has no file
/// open at all. The end of the process comes late enough for both.
fn end_of_owner(path: &Path) -> Option<OwnedFd> {
    let pid = incumbent::recorded_pid(path).ok()??;
    if pid == process::id() {
        return None;
    }
    let pid = Pid::from_raw(pid.cast_signed())?;
    // A process that has already ended, such as a zombie, raises no further event.
    pidfd_open(pid, PidfdFlags::empty()).ok().filter(|owner| !has_ended(owner))
}

fn has_ended(owner: &OwnedFd) -> bool {
    let mut owner = [PollFd::new(owner.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut owner, PollTimeout::ZERO), Ok(0) | Err(nix::errno::Errno::EINTR))
}
