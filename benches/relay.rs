//! The bare system calls of a lock that is handed over, with inotify(7) to tell of it: no pidfd, no jitter, and
//! nobody else who waits.

use std::ffi::c_int;
use std::path::Path;

use crate::calls::{Names, close};

pub struct Relay {
    names: Names,
    inotify: c_int,
}

pub struct Turn {
    names: Names,
    file: c_int,
}

impl Relay {
    pub fn at(path: &Path) -> Relay {
        // SAFETY: inotify_init1 takes numbers only.
        let inotify = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
        assert!(inotify >= 0);
        Relay { names: Names::of(path), inotify }
    }

    /// The instance is never closed, as ours is not.
    pub fn lock(self) -> Turn {
        loop {
            let file = self.names.open();
            if file < 0 {
                return Turn { file: self.names.publish(), names: self.names };
            }
            close(file);
            let wanted = libc::IN_ATTRIB | libc::IN_DELETE_SELF;
            // SAFETY: the path is a C string.
            let watched =
                unsafe { libc::inotify_add_watch(self.inotify, self.names.path.as_ptr(), wanted) };
            if watched >= 0 {
                let mut events = [0_u8; 1024];
                // SAFETY: the buffer is as long as it is said to be.
                let len =
                    unsafe { libc::read(self.inotify, events.as_mut_ptr().cast(), events.len()) };
                assert!(len > 0);
            }
        }
    }
}

impl Turn {
    pub fn release(self) {
        self.names.release(self.file);
    }
}
