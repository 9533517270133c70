//! Linux's events of a lock file, by inotify(7), and of its owner, by a pidfd.
//!
//! One inotify instance serves all waits of a process: the kernel allows a user 128 by default, and other
//! programs want some. Every wait polls it. The one that reads an event rings the bell of each wait that the
//! event is meant for.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::{mem, process};

use nix::errno::Errno;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{fcntl_dupfd_cloexec, read, write};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::incumbent;
use crate::retry::cancel::lock;
use crate::retry::trace;

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
const MARK: OFlags =
    OFlags::APPEND.union(OFlags::NONBLOCK).union(OFlags::from_bits_retain(O_ASYNC));
/// Nobody gets a signal: no process is set to get it.
const O_ASYNC: u32 = nix::libc::O_ASYNC.cast_unsigned();

#[derive(Debug)]
struct Wait {
    /// What inotify calls the watch of its file.
    id: AtomicI32,
    /// What has happened to that file: `NOTHING`, `CLOSED` or `OTHER`.
    heard: AtomicU8,
    bell: OwnedFd,
}

/// What has happened to a lock.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::retry) enum Event {
    /// The file was closed by a process that could write to it, and no more than that is known.
    Closed,
    /// The owner has ended.
    Ended,
    Other,
}

const NOTHING: u8 = 0;
const CLOSED: u8 = 1;
const OTHER: u8 = 2;
/// inotify numbers its watches from 1.
const NO_WATCH: i32 = 0;

/// A watch on the inode that a path named.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: Box<Path>,
    pid: u32,
    /// A duplicate of our own: each task of a runtime has to register another number.
    inotify: OwnedFd,
    waits: Arc<Mutex<Vec<Arc<Wait>>>>,
    wait: Arc<Wait>,
}

impl FileWatch {
    pub(super) fn new(path: &Path) -> Result<FileWatch, Errno> {
        let watch = FileWatch::unwatching(path).and_then(FileWatch::renew);
        if let Err(error) = watch
            && error != Errno::ENOENT
        {
            trace::unwatched(error);
            // It may be what others lack.
            FileWatch::give_back();
        }
        watch
    }

    fn unwatching(path: &Path) -> Result<FileWatch, Errno> {
        let (pid, path) = (process::id(), path.into());
        let mut instance = lock(&INSTANCE).ok_or(Errno::EAGAIN)?;
        if !instance.as_ref().is_some_and(|it| it.pid == pid && it.is_there()) {
            // A parent's is closed. As long as the parent lives, that is no last close and quick.
            if let Some(stranger) = instance.take().filter(|it| !it.is_there()) {
                mem::forget(stranger.inotify);
            }
            let inotify =
                inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(errno)?;
            fcntl_setfl(&inotify, MARK).map_err(errno)?;
            *instance = Some(Instance { pid, inotify, waits: Arc::default() });
        }
        let Some(Instance { inotify, waits, .. }) = &*instance else { return Err(Errno::EAGAIN) };
        let inotify = fcntl_dupfd_cloexec(inotify, 0).map_err(errno)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(errno)?;
        let wait = Wait { id: NO_WATCH.into(), heard: NOTHING.into(), bell };
        Ok(FileWatch { path, pid, inotify, waits: Arc::clone(waits), wait: Arc::new(wait) })
    }

    /// Watches what the path names by now.
    ///
    /// To watch the same inode again changes nothing in the kernel. To take the watch away first would leave
    /// it to be freed after a grace period, for which the closing of every other instance then waits, in a
    /// killed owner for one: up to 20 ms, in which its pid is not dead.
    pub(super) fn renew(self) -> Result<FileWatch, Errno> {
        let mut waits = lock(&self.waits).ok_or(Errno::EAGAIN)?;
        // Before and not after: the inode that is watched from now on may be gone as soon as that, and have
        // a successor when the lock is tried.
        self.pass_on(&waits);
        self.wait.take();
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
        if old == NO_WATCH && id != NO_WATCH {
            waits.push(Arc::clone(&self.wait));
        }
        if old != id {
            self.remove(old, &waits);
        }
        drop(waits);
        added.map(|_| self).map_err(errno)
    }

    /// Takes a watch away that no wait needs any more.
    fn remove(&self, id: i32, waits: &[Arc<Wait>]) {
        if id != NO_WATCH && !waits.iter().any(|wait| wait.id.load(Ordering::SeqCst) == id) {
            // Refused if the inode is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.inotify, id);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_our_own(&self) -> bool {
        self.pid == process::id()
    }

    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.inotify.as_fd(), self.wait.bell.as_fd()]
    }

    /// Takes what has happened to the file.
    pub(super) fn event(&self) -> Option<Event> {
        // Where another wait reads just now, it rings our bell.
        if let Some(waits) = lock(&self.waits) {
            self.pass_on(&waits);
        }
        match self.wait.take() {
            NOTHING => None,
            CLOSED => Some(Event::Closed),
            _ => Some(Event::Other),
        }
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
                    let _ = write(&wait.bell, &1_u64.to_ne_bytes());
                }
            }
        }
    }

    /// Closes the instance if no wait needs it.
    pub(super) fn give_back() {
        let Some(mut instance) = lock(&INSTANCE) else { return };
        if instance.as_ref().is_some_and(|it| it.is_there() && Arc::strong_count(&it.waits) == 1) {
            *instance = None;
        }
    }
}

impl Instance {
    fn is_there(&self) -> bool {
        fcntl_getfl(&self.inotify).is_ok_and(|flags| flags.contains(MARK))
    }
}

impl Wait {
    fn take(&self) -> u8 {
        // In this order: what is told in between rings once too often, and not once too little.
        let _ = read(&self.bell, &mut [0; 8]);
        self.heard.swap(NOTHING, Ordering::SeqCst)
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // A child's copies are closed and nothing else: the rest is its parent's.
        if self.is_our_own()
            && let Some(mut waits) = lock(&self.waits)
        {
            waits.retain(|wait| !Arc::ptr_eq(wait, &self.wait));
            self.remove(self.wait.id.load(Ordering::SeqCst), &waits);
        }
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Becomes readable when the process ends whose pid is in the record of the file at `path`.
///
/// A killed owner's file is closed a moment before its kernel lock is free, and a pid-only owner has no file
/// open at all. This one comes late enough for both.
pub(super) fn end_of_owner(path: &Path) -> Option<OwnedFd> {
    let pid = incumbent::recorded_pid(path).ok()??;
    if pid == process::id() {
        return None;
    }
    let pid = Pid::from_raw(pid.cast_signed())?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}
