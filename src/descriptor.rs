//! The open file that holds a kernel lock, and whether its descriptor still refers to that file.
//!
//! A program may close descriptors that are not its own, as daemonizers do, and then get the same number for
//! another file.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};

use crate::inode::{self, Inode};

/// For each descriptor number, the serial number of the latest value that had it.
///
/// A program that closes all its descriptors and locks again has two values with one descriptor, and perhaps
/// one inode number. The older value has lost its lock, and must not close the newer one's. (Two threads with
/// their own descriptor tables can share a number, too. Then the older value leaves its file behind.)
static LATEST: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
static SERIAL: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub(crate) struct Descriptor {
    /// `None` once the descriptor refers to another file, which is not ours to close.
    file: Option<File>,
    inode: Inode,
    /// Tells this value from a later one with the same descriptor.
    serial: u64,
}

impl Descriptor {
    pub(crate) fn new(file: File, inode: Inode) -> Descriptor {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        if let Some(latest) = latest_with(&file) {
            latest.store(serial, Ordering::Relaxed);
        }
        Descriptor { file: Some(file), inode, serial }
    }

    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("it is there until it is let go")
    }

    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// The stat of the open file; `None` if the descriptor was closed, or now refers to another file.
    pub(crate) fn examine(&self) -> io::Result<Option<FileStat>> {
        let latest = latest_with(self.file()).map(|latest| latest.load(Ordering::Relaxed));
        if latest.is_some_and(|serial| serial != self.serial) {
            return Ok(None);
        }
        match inode::uninterrupted(|| fstat(self.file())) {
            Ok(stat) => Ok((Inode::of(&stat) == self.inode).then_some(stat)),
            Err(Errno::EBADF) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives up a descriptor that is no longer ours: closing it would close another file.
    pub(crate) fn let_go(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = file.into_raw_fd();
        }
    }
}

/// `None` if the number is too high for the table.
fn latest_with(file: &File) -> Option<&'static AtomicU64> {
    LATEST.get(usize::try_from(file.as_raw_fd()).ok()?)
}
