//! Linux's news of a lock file, by inotify(7), and of its owner, by a pidfd.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process;
use std::sync::{Mutex, TryLockError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::incumbent;
use crate::retry::trace::Trace;
use crate::retry::watch::{News, Unwatched};

/// How many waits of a process hear news at a time. The kernel allows a user 128 instances by default,
/// and other programs want some.
const SLOTS: usize = 16;

/// The process's instances, each with one watch at most: two watches of one inode in one instance are
/// one, and the first waiter to take it away would take it from the other.
///
/// They are never closed: that takes the kernel 80 µs to 20 ms, and would come between a waiter and its
/// lock.
static POOL: [Mutex<Slot>; SLOTS] = [const { Mutex::new(Slot::Unused) }; SLOTS];

enum Slot {
    Unused,
    /// Lent to a wait of this process.
    Lent {
        pid: u32,
    },
    Idle {
        pid: u32,
        instance: OwnedFd,
    },
}

/// A watch on the inode that a path named.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: Box<Path>,
    /// `None` only while it is dropped.
    instance: Option<OwnedFd>,
    slot: usize,
    /// Whose instance it is; a forked child has a copy.
    pid: u32,
    /// What inotify calls the watch.
    id: Option<i32>,
}

impl FileWatch {
    pub(super) fn new(path: &Path) -> Result<FileWatch, Unwatched> {
        let (slot, instance) = borrow_instance().map_err(why_unwatched)?;
        let (path, pid) = (path.into(), process::id());
        let mut watch = FileWatch { path, instance: Some(instance), slot, pid, id: None };
        watch.id = Some(watch.add().map_err(why_unwatched)?);
        Ok(watch)
    }

    /// Watches what the path names by now; whether that is the same inode.
    ///
    /// To watch the same inode again changes nothing in the kernel. To take the watch away first would leave
    /// it to be freed after a grace period, for which the closing of every other instance then waits, in a
    /// killed owner for one: up to 20 ms, in which its pid is not dead.
    pub(super) fn renew(&mut self) -> Result<bool, Unwatched> {
        // Before and not after: the inode that is watched from now on may be gone as soon as that, and have
        // a successor when the lock is tried.
        self.drain();
        let added = self.add();
        let old = std::mem::replace(&mut self.id, added.ok());
        if let Some(old) = old
            && self.id != Some(old)
        {
            self.remove(old);
        }
        added.map(|id| old == Some(id)).map_err(why_unwatched)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn add(&self) -> Result<i32, Errno> {
        // The link count changes when the file is removed. Moved is as good as removed. A killed owner's
        // last writable descriptor is closed. The inode itself goes a moment after its name: on its way there
        // the first event can wake us while the name is still to be seen.
        let mut news = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        if !incumbent::looks_write() {
            news |= WatchFlags::CLOSE_WRITE;
        }
        inotify::add_watch(self.descriptor(), &*self.path, news | WatchFlags::DONT_FOLLOW)
    }

    fn remove(&self, id: i32) {
        // Refused if the inode is gone, and the watch with it.
        let _ = inotify::remove_watch(self.descriptor(), id);
    }

    pub(super) fn is_our_own(&self) -> bool {
        self.pid == process::id()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.instance.as_ref().expect("it is there until Drop").as_fd()
    }

    /// Takes out what there is to tell.
    pub(super) fn news(&self) -> News {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(self.descriptor(), &mut buffer);
        let mut news = News::None;
        while let Ok(event) = events.next() {
            if self.id == Some(event.wd()) && event.events() == ReadFlags::CLOSE_WRITE {
                news = News::Closed;
            } else if self.id == Some(event.wd()) || event.events() == ReadFlags::QUEUE_OVERFLOW {
                return News::Other;
            }
        }
        news
    }

    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        while rustix::io::read(self.descriptor(), &mut buffer).is_ok() {}
    }
}

fn why_unwatched(error: Errno) -> Unwatched {
    if error == Errno::NOENT {
        return Unwatched::Gone;
    }
    Trace::unwatched(error);
    Unwatched::Refused
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // A child's copy is closed and nothing else: what it read would be missing in its parent.
        if self.is_our_own() {
            if let Some(id) = self.id {
                self.remove(id);
            }
            // What the removal tells is among it.
            self.drain();
            if let Some(instance) = self.instance.take() {
                return_instance(self.slot, Slot::Idle { pid: self.pid, instance });
            }
        }
    }
}

/// Takes an instance out of the pool, or puts a new one on its books.
fn borrow_instance() -> Result<(usize, OwnedFd), Errno> {
    let pid = process::id();
    let ours = |slot: &Slot| matches!(slot, Slot::Idle { pid: owner, .. } if *owner == pid);
    let free = |slot: &Slot| !matches!(slot, Slot::Lent { pid: owner } if *owner == pid);
    for wanted in [&ours as &dyn Fn(&Slot) -> bool, &free] {
        for (index, slot) in POOL.iter().enumerate() {
            // Never waited for: after a fork, the thread that held it may not exist.
            let mut slot = match slot.try_lock() {
                Ok(slot) => slot,
                Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            if !wanted(&slot) {
                continue;
            }
            let instance = match std::mem::replace(&mut *slot, Slot::Lent { pid }) {
                Slot::Idle { pid: owner, instance } if owner == pid => Ok(instance),
                // What a parent had in its place is closed here, in the middle of a wait. As long as the parent
                // lives, that is no last close and quick.
                _ => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK),
            };
            if instance.is_err() {
                *slot = Slot::Unused;
            }
            return Ok((index, instance?));
        }
    }
    Err(Errno::MFILE)
}

fn return_instance(index: usize, idle: Slot) {
    // Held by another thread for as long as it takes to see that the slot is lent.
    match POOL[index].lock() {
        Ok(mut slot) => *slot = idle,
        Err(poisoned) => *poisoned.into_inner() = idle,
    }
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
    // Of a process that has ended already, such as a zombie, there is nothing more to learn.
    pidfd_open(pid, PidfdFlags::empty()).ok().filter(|end| !super::is_readable(end.as_fd()))
}
