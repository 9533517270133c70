//! Linux's events of a lock file, by inotify(7), and of its owner, by a pidfd.
//!
//! One inotify instance serves all waits of a process: the kernel allows a user 128 by default, and other
//! programs want some. Every wait polls it. The one that reads an event passes it on to each wait that the event is
//! meant for, and wakes it by an eventfd of its own.

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

/// The process's instance. It is kept for the next wait, because to close it takes the kernel up to 20 ms.
static INSTANCE: Mutex<Option<Instance>> = Mutex::new(None);

struct Instance {
    /// A forked child has a copy, and needs one of its own.
    pid: u32,
    inotify: OwnedFd,
    waits: Arc<Mutex<Vec<Arc<Wait>>>>,
}

/// No other descriptor has these flags. The number alone proves nothing: a program may have closed every descriptor,
/// and a thread may have a table of its own; then what has the number is a stranger's.
///
/// With `ASYNC` nobody gets a signal: no process is set to get it.
const MARK: OFlags = OFlags::APPEND.union(OFlags::NONBLOCK).union(OFlags::ASYNC);

#[derive(Debug)]
struct Wait {
    /// What inotify calls the watch of its file.
    id: AtomicI32,
    /// What has happened to that file: `NOTHING`, `CLOSED` or `OTHER`.
    heard: AtomicU8,
    /// An eventfd, written when something was heard.
    bell: OwnedFd,
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
    /// A duplicate of our own: each task of a runtime has to register another number.
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
            // It may be what others lack.
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
            // A parent's is closed. As long as the parent lives, that is no last close and quick.
            if let Some(stranger) = instance.take().filter(|it| !it.is_there()) {
                mem::forget(stranger.inotify);
            }
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            fcntl_setfl(&inotify, MARK)?;
            *instance = Some(Instance { pid, inotify, waits: Arc::default() });
        }
        let Instance { inotify, waits, .. } = instance.as_ref().ok_or(io::ErrorKind::Other)?;
        let inotify = fcntl_dupfd_cloexec(inotify, 0)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let wait = Arc::new(Wait { id: NO_WATCH.into(), heard: NOTHING.into(), bell });
        let waits = Arc::clone(waits);
        lock(&waits, PATIENTLY).ok_or(io::ErrorKind::WouldBlock)?.push(Arc::clone(&wait));
        Ok(FileWatch { path, pid, inotify, waits, wait, owner: None })
    }

    /// Watches what the path names by now.
    ///
    /// To watch the same inode again changes nothing in the kernel. To take the watch away first would leave
    /// it to be freed after a grace period, for which the closing of every other instance then waits, in a
    /// killed owner for one: up to 20 ms, in which its pid is not dead.
    fn begin(mut self) -> io::Result<Watch> {
        self.owner = None;
        let waits = lock(&self.waits, PATIENTLY).ok_or(io::ErrorKind::WouldBlock)?;
        // Before and not after: the inode that is watched from now on may be gone as soon as that, and have
        // a successor when the lock is tried.
        self.pass_on(&waits);
        self.wait.heard.store(NOTHING, Ordering::SeqCst);
        // The link count changes when the file is removed. Moved is as good as removed. A killed owner's
        // last writable descriptor is closed. The inode itself goes a moment after its name: on its way there
        // the first event can wake us while the name is still to be seen.
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
            // It has just gone, which is the very event.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            // The record is read after the file is watched: a record that changes later is an event itself.
            Ok(_) => self.owner = end_of_owner(&self.path),
        }
        Ok(Watch(Box::new(self)))
    }

    /// Takes a watch away that no wait needs any more.
    fn remove(&self, id: i32, waits: &[Arc<Wait>]) {
        if id != NO_WATCH && !waits.iter().any(|wait| wait.id.load(Ordering::SeqCst) == id) {
            // Refused if the inode is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.inotify, id);
        }
    }

    fn is_our_own(&self) -> bool {
        self.pid == process::id()
    }

    /// Whether it can tell nothing. A child forked in the middle of a wait must not wait on what its parent empties.
    fn is_spent(&self) -> bool {
        !self.is_our_own() || self.wait.id.load(Ordering::SeqCst) == NO_WATCH
    }

    /// Reads all events, and tells those that they are meant for.
    fn pass_on(&self, waits: &[Arc<Wait>]) {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = events.next() {
            let all = event.events() == ReadFlags::QUEUE_OVERFLOW;
            let heard = if event.events() == ReadFlags::CLOSE_WRITE { CLOSED } else { OTHER };
            for wait in waits {
                if all || wait.id.load(Ordering::SeqCst) == event.wd() {
                    wait.heard.fetch_max(heard, Ordering::SeqCst);
                    if !Arc::ptr_eq(wait, &self.wait) {
                        let _ = write(&wait.bell, &1_u64.to_ne_bytes());
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
        [Some(self.inotify.as_fd()), Some(self.wait.bell.as_fd()), self.owner()]
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
        // Where another wait reads just now, it rings our bell.
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
        let heard = self.heard.swap(NOTHING, Ordering::SeqCst);
        if heard != NOTHING {
            return heard;
        }
        // In this order: what is told in between wakes us once too often, and not once too little.
        let _ = read(&self.bell, &mut [0; 8]);
        self.heard.swap(NOTHING, Ordering::SeqCst)
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // A child's copies are closed and nothing else: the rest is its parent's.
        if self.is_our_own()
            && let Some(mut waits) = lock(&self.waits, PATIENTLY)
        {
            waits.retain(|wait| !Arc::ptr_eq(wait, &self.wait));
            self.remove(self.wait.id.load(Ordering::SeqCst), &waits);
        }
    }
}

/// Becomes readable when the process ends whose pid is in the record of the file at `path`.
///
/// A killed owner's file is closed a moment before its kernel lock is free, and a pid-only owner has no file
/// open at all. This one comes late enough for both.
fn end_of_owner(path: &Path) -> Option<OwnedFd> {
    let pid = incumbent::recorded_pid(path).ok()??;
    if pid == process::id() {
        return None;
    }
    let pid = Pid::from_raw(pid.cast_signed())?;
    // Of a process that has ended already, such as a zombie, there is nothing more to learn.
    pidfd_open(pid, PidfdFlags::empty()).ok().filter(|owner| !has_ended(owner))
}

fn has_ended(owner: &OwnedFd) -> bool {
    let mut owner = [PollFd::new(owner.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut owner, PollTimeout::ZERO), Ok(0) | Err(nix::errno::Errno::EINTR))
}
