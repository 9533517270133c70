//! Linux's news of a lock file, by inotify(7), and of its owner, by a pidfd.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process;
use std::sync::{Mutex, TryLockError};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::incumbent;

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
    /// `None` only while it is dropped.
    instance: Option<OwnedFd>,
    slot: usize,
    /// Whose instance it is; a forked child has a copy.
    pid: u32,
    id: i32,
}

impl FileWatch {
    pub(super) fn new(path: &Path) -> Result<FileWatch, Errno> {
        let (slot, instance) = borrow_instance()?;
        let mut watch = FileWatch { instance: Some(instance), slot, pid: process::id(), id: -1 };
        // The link count changes when the file is removed. Moved is as good as removed. A killed owner's
        // last writable descriptor is closed. The inode itself goes a moment after its name: on its way there
        // the first event can wake us while the name is still to be seen.
        let mut news = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        if !incumbent::looks_write() {
            news |= WatchFlags::CLOSE_WRITE;
        }
        watch.id = inotify::add_watch(watch.descriptor(), path, news | WatchFlags::DONT_FOLLOW)?;
        Ok(watch)
    }

    pub(super) fn is_our_own(&self) -> bool {
        self.pid == process::id()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.instance.as_ref().expect("it is there until Drop").as_fd()
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // A child's copy is closed and nothing else: what it read would be missing in its parent.
        if let Some(instance) = self.instance.take()
            && self.pid == process::id()
        {
            if self.id >= 0 {
                // Refused if the inode is gone, and the watch with it.
                let _ = inotify::remove_watch(&instance, self.id);
                drain(&instance);
            }
            return_instance(self.slot, Slot::Idle { pid: self.pid, instance });
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

/// Takes out all events, the one for the watch that was taken away included.
fn drain(instance: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    while rustix::io::read(instance, &mut buffer).is_ok() {}
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
