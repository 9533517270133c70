//! What file systems show, and what they hide.

use super::{FileId, ProcessId, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileSystem {
    /// An open file keeps its inode number, and `unlink` takes its link count to 0.
    Local,
    /// The worst FUSE server: each new file at the path has the inode number of the one before, even while that
    /// one is open, and the link count is never 0. The kernel calls a removed file "(deleted)".
    NumbersUsedAgain,
    /// The same, but a removed file that is open gets another name, which the kernel knows.
    SillyRename,
    /// One NFS server, two clients. A client's dentry cache shows the old file under a name until the client
    /// opens the directory. A client learns only of its own removals, and no link count is 0.
    TwoClients,
    /// An `NFSv3` server whose clock has not advanced: opening the directory shows no change.
    CoarseClock,
    /// The second process uses the first one's local directory through FUSE: one set of files, and two sets of
    /// kernel locks.
    SecondMount,
}

/// The last component of the link in /proc/thread-self/fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    TheName,
    AnotherName,
    Deleted,
}

impl FileSystem {
    pub(crate) fn mounts(self) -> usize {
        match self {
            FileSystem::TwoClients | FileSystem::CoarseClock | FileSystem::SecondMount => 2,
            FileSystem::Local | FileSystem::NumbersUsedAgain | FileSystem::SillyRename => 1,
        }
    }

    /// The result of statfs for the mount, which decides whether a stamp is given and whether one is believed.
    fn is_local(self, mount: usize) -> bool {
        self == FileSystem::Local || self == FileSystem::SecondMount && mount == 0
    }

    fn caches_names(self, mount: usize) -> bool {
        self.mounts() == 2 && !self.is_local(mount)
    }

    pub(super) fn shares_kernel_locks(self) -> bool {
        self != FileSystem::SecondMount
    }

    pub(super) fn uses_numbers_again(self) -> bool {
        matches!(self, FileSystem::NumbersUsedAgain | FileSystem::SillyRename)
    }

    /// Whether a removed file has a link count of 0.
    pub(crate) fn counts_to_zero(self) -> bool {
        self == FileSystem::Local
    }
}

impl World {
    pub(super) fn mount(&self, process: ProcessId) -> usize {
        process % self.file_system.mounts()
    }

    pub(crate) fn is_local(&self, process: ProcessId) -> bool {
        self.file_system.is_local(self.mount(process))
    }

    /// The inode that the path names, as this mount believes.
    pub(super) fn look_up(&mut self, process: ProcessId) -> Option<u8> {
        let mount = self.mount(process);
        if self.file_system.caches_names(mount) && self.cached[mount].is_none() {
            self.cached[mount] = self.names[0];
        }
        self.cached[mount].or(self.names[0])
    }

    pub(super) fn remember(&mut self, process: ProcessId, inode: u8) {
        let mount = self.mount(process);
        if self.file_system.caches_names(mount) {
            self.cached[mount] = Some(inode);
        }
    }

    pub(crate) fn forget(&mut self, mount: usize) {
        self.cached[mount] = None;
    }

    pub(crate) fn is_cached(&self, mount: usize) -> bool {
        self.cached[mount].is_some()
    }

    pub(crate) fn caches_names(&self, process: ProcessId) -> bool {
        self.file_system.caches_names(self.mount(process))
    }

    pub(crate) fn open_directory(&mut self, process: ProcessId) {
        if self.file_system != FileSystem::CoarseClock {
            self.forget(self.mount(process));
        }
    }

    /// fstatat of the path, and whether the number is the file's.
    pub(crate) fn lstat_names(&mut self, process: ProcessId, file: FileId) -> bool {
        let inode = self.file(file).inode;
        let again = self.file_system.uses_numbers_again();
        self.look_up(process).is_some_and(|named| named == inode || again)
    }

    pub(crate) fn kernels_word(&self, process: ProcessId, file: FileId) -> Word {
        let seen = self.inode(self.file(file).inode).removed_through & (1 << self.mount(process));
        match self.file_system {
            _ if seen == 0 => Word::TheName,
            FileSystem::SillyRename | FileSystem::TwoClients | FileSystem::CoarseClock => {
                Word::AnotherName
            }
            _ => Word::Deleted,
        }
    }

    /// The result of fstat.
    pub(crate) fn link_count(&self, file: FileId) -> usize {
        let inode = self.file(file).inode;
        let count = self.names.iter().filter(|&&name| name == Some(inode)).count();
        if self.file_system.counts_to_zero() { count } else { count.max(1) }
    }
}
