//! The machine: names in one directory, inodes, open files with their kernel locks, and pids.
//!
//! A method of `World` is one system call. Numbers of inodes and open files are given anew after every
//! step, so an inode number is reused as soon as nothing names or opens the inode, as on a disk.

mod tidy;

use std::ops::Range;

use crate::step::Next;

pub(crate) type Pid = u8;
pub(crate) type ProcessId = usize;
pub(crate) type FileId = u8;

/// The lock file's place among the names; those behind it are temporaries of the fallback.
pub(crate) const LOCK_FILE: u8 = 0;
const NAMES: usize = 4;
const INODES: usize = 8;
const FILES: usize = 8;
pub(crate) const PIDS: usize = 5;
pub(crate) const PROCESSES: usize = 4;
pub(crate) const THREADS: usize = 6;

/// What `kill(pid, 0)` and /proc tell about a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Free,
    /// A process of ours or of the seed's.
    Playing,
    /// A process that has nothing to do with the lock, or one on its way out.
    Stranger,
    /// A pid-only peer that owned the lock before the first step.
    PidOnlyOwner,
    /// Ended and not yet reaped. The id of a mere thread is judged alike.
    Zombie,
}

/// An open file description: what flock(2) locks, and what a fork shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpenFile {
    inode: u8,
    locked: bool,
    /// A bit for each process that has a copy.
    holders: u8,
    /// Killed while it used the file: a forked child's copy may outlive it.
    user_was_killed: bool,
}

/// A thread and what it remembers between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    pub(crate) next: Next,
    pub(crate) file: Option<FileId>,
    pub(crate) name: u8,
    /// The pid that it read, or that its guard belongs to.
    pub(crate) pid: Pid,
}

pub(crate) const IDLE: Thread = Thread { next: Next::Begin, file: None, name: LOCK_FILE, pid: 0 };

/// What must never happen, noticed at the call that does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sins {
    pub(crate) release_removed_anothers_file: bool,
    pub(crate) stale_removal_hit_a_file_in_use: bool,
    pub(crate) busy_without_a_holder: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    names: [Option<u8>; NAMES],
    /// The pid in each inode's record; 0 is a record without a valid one.
    inodes: [Option<Pid>; INODES],
    files: [Option<OpenFile>; FILES],
    pids: [Life; PIDS],
    pub(crate) processes: [Option<Pid>; PROCESSES],
    pub(crate) threads: [Thread; THREADS],
    pub(crate) sins: Sins,
}

impl World {
    pub(crate) fn empty() -> World {
        World {
            names: [None; NAMES],
            inodes: [None; INODES],
            files: [None; FILES],
            pids: [Life::Free; PIDS],
            processes: [None; PROCESSES],
            threads: [IDLE; THREADS],
            sins: Sins::default(),
        }
    }

    pub(crate) fn life(&self, pid: Pid) -> Life {
        self.pids[usize::from(pid) - 1]
    }

    pub(crate) fn set_life(&mut self, pid: Pid, life: Life) {
        self.pids[usize::from(pid) - 1] = life;
    }

    /// A file that nobody has open, under `name`.
    pub(crate) fn plant(&mut self, name: u8, record: Pid) {
        self.names[usize::from(name)] = Some(self.new_inode(record));
    }

    fn new_inode(&mut self, record: Pid) -> u8 {
        let free = self.inodes.iter().position(Option::is_none).expect("INODES is large enough");
        self.inodes[free] = Some(record);
        small(free)
    }

    fn new_file(&mut self, process: ProcessId, inode: u8) -> FileId {
        let free = self.files.iter().position(Option::is_none).expect("FILES is large enough");
        self.files[free] =
            Some(OpenFile { inode, locked: false, holders: 1 << process, user_was_killed: false });
        small(free)
    }

    fn file(&self, file: FileId) -> OpenFile {
        self.files[usize::from(file)].expect("a thread's file is open")
    }

    fn file_mut(&mut self, file: FileId) -> &mut OpenFile {
        self.files[usize::from(file)].as_mut().expect("a thread's file is open")
    }

    pub(crate) fn open(&mut self, process: ProcessId, name: u8) -> Option<FileId> {
        let inode = self.names[usize::from(name)]?;
        Some(self.new_file(process, inode))
    }

    pub(crate) fn create_unnamed(&mut self, process: ProcessId, record: Pid) -> FileId {
        let inode = self.new_inode(record);
        self.new_file(process, inode)
    }

    pub(crate) fn create_named(&mut self, process: ProcessId, name: u8) -> FileId {
        let file = self.create_unnamed(process, 0);
        self.names[usize::from(name)] = Some(self.file(file).inode);
        file
    }

    pub(crate) fn flock(&mut self, file: FileId) -> bool {
        if self.is_locked_by_another(file) {
            return false;
        }
        self.file_mut(file).locked = true;
        true
    }

    pub(crate) fn flock_unlock(&mut self, file: FileId) {
        self.file_mut(file).locked = false;
    }

    pub(crate) fn close(&mut self, process: ProcessId, file: FileId) {
        self.file_mut(file).holders &= !(1 << process);
    }

    pub(crate) fn link_count(&self, file: FileId) -> usize {
        self.names.iter().filter(|&&name| name == Some(self.file(file).inode)).count()
    }

    pub(crate) fn lstat_names(&self, name: u8, file: FileId) -> bool {
        self.names[usize::from(name)] == Some(self.file(file).inode)
    }

    pub(crate) fn is_there(&self, name: u8) -> bool {
        self.names[usize::from(name)].is_some()
    }

    pub(crate) fn link(&mut self, file: FileId, name: u8) -> bool {
        let free = !self.is_there(name);
        if free {
            self.names[usize::from(name)] = Some(self.file(file).inode);
        }
        free
    }

    pub(crate) fn unlink(&mut self, name: u8) {
        self.names[usize::from(name)] = None;
    }

    pub(crate) fn record(&self, file: FileId) -> Pid {
        self.inodes[usize::from(self.file(file).inode)].expect("an open file has an inode")
    }

    pub(crate) fn record_at(&self, name: u8) -> Option<Pid> {
        self.inodes[usize::from(self.names[usize::from(name)]?)]
    }

    pub(crate) fn write_record(&mut self, file: FileId, pid: Pid) {
        self.inodes[usize::from(self.file(file).inode)] = Some(pid);
    }

    pub(crate) fn is_shared(&self, file: FileId) -> bool {
        self.file(file).holders.count_ones() > 1
    }

    pub(crate) fn is_locked_by_another(&self, file: FileId) -> bool {
        let inode = self.file(file).inode;
        let others = self.files.iter().enumerate().filter(|&(id, _)| id != usize::from(file));
        others.flat_map(|(_, other)| other).any(|other| other.inode == inode && other.locked)
    }

    /// The kernel lock of the inode that `name` names.
    fn lock_at(&self, name: u8) -> Option<(FileId, OpenFile)> {
        let inode = self.names[usize::from(name)]?;
        let mut open = self.files.iter().enumerate().filter_map(|(id, file)| Some((id, (*file)?)));
        open.find(|(_, file)| file.inode == inode && file.locked)
            .map(|(id, file)| (small(id), file))
    }

    pub(crate) fn is_locked(&self, name: u8) -> bool {
        self.lock_at(name).is_some()
    }

    /// No name stands on an inode that is kernel-locked for nobody's sake.
    pub(crate) fn every_named_lock_has_a_user(&self) -> bool {
        (0..small(NAMES)).filter_map(|name| self.lock_at(name)).all(|(id, file)| {
            file.user_was_killed || self.threads.iter().any(|thread| thread.file == Some(id))
        })
    }

    /// A name for a new temporary that no file and no thread has.
    pub(crate) fn free_temporary(&self, temporaries: u8) -> Option<u8> {
        (1..=temporaries).find(|&name| {
            !self.is_there(name) && self.threads.iter().all(|thread| thread.name != name)
        })
    }

    pub(crate) fn start(&mut self, process: ProcessId, pid: Pid) {
        self.processes[process] = Some(pid);
        self.set_life(pid, Life::Playing);
    }

    /// The child's copies of its parent's open files.
    pub(crate) fn share_files(&mut self, parent: ProcessId, child: ProcessId) {
        for file in self.files.iter_mut().flatten() {
            if file.holders & (1 << parent) != 0 {
                file.holders |= 1 << child;
            }
        }
    }

    /// SIGKILL, or an exit: the kernel closes all files.
    pub(crate) fn end(&mut self, process: ProcessId, threads: Range<usize>, life: Life) {
        for thread in &mut self.threads[threads] {
            if let Some(file) = thread.file {
                self.files[usize::from(file)].as_mut().expect("open").user_was_killed = true;
            }
            *thread = IDLE;
        }
        for file in self.files.iter_mut().flatten() {
            file.holders &= !(1 << process);
        }
        if let Some(pid) = self.processes[process].take() {
            self.set_life(pid, life);
        }
    }

    /// For a trace: what the path names now.
    pub(crate) fn describe_lock_file(&self) -> String {
        match self.record_at(LOCK_FILE) {
            None => "no lock file".to_owned(),
            Some(pid) => {
                let locked =
                    if self.is_locked(LOCK_FILE) { "kernel lock held" } else { "no kernel lock" };
                let record = if pid == 0 { "junk".to_owned() } else { format!("pid {pid}") };
                format!("lock file: {record}, {locked}")
            }
        }
    }
}

fn small(index: usize) -> u8 {
    u8::try_from(index).expect("the tables are short")
}
