//! The machine: names in one directory, inodes, open files with their kernel locks, and pids.
//!
//! A method of `World` is one system call. Numbers of inodes and open files are assigned anew after every step:
//! they identify a file here, and are not what `fstat` calls an inode number.

mod file_system;
mod files;
mod tidy;

use std::ops::Range;

pub(crate) use file_system::{FileSystem, Word};

use crate::step::Next;

pub(crate) type Pid = u8;
pub(crate) type ProcessId = usize;
pub(crate) type FileId = u8;

/// A record without a valid pid: empty, or junk that may be a lock file.
pub(crate) const BLANK: Pid = 0;
/// Content that can't be a lock file.
pub(crate) const DATA: Pid = Pid::MAX;

const NAMES: usize = 2;
const INODES: usize = 8;
const FILES: usize = 8;
const MOUNTS: usize = 2;
pub(crate) const PIDS: usize = 5;
pub(crate) const PROCESSES: usize = 4;
pub(crate) const THREADS: usize = 6;

/// What `kill(pid, 0)` and /proc show about a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Free,
    /// A process of ours, a script or a process that runs the seed's algorithm.
    Playing,
    /// An unrelated process, or a process about to exit.
    Stranger,
    /// A pid-only peer that has owned the lock from the start.
    PidOnlyOwner,
    /// Ended and not yet reaped. The id of a thread is judged in the same way.
    Zombie,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) record: Pid,
    /// The pid of the stamp, or 0.
    pub(crate) stamp: Pid,
    user: u8,
    /// A bit for each mount that removed its name.
    removed_through: u8,
    /// Invisible to programs: the last writer was an owner of ours, where stamps are given.
    pub(crate) is_ours: bool,
}

/// An open file description: what flock(2) locks, and what a fork shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpenFile {
    inode: u8,
    mount: u8,
    locked: bool,
    /// A bit for each process that has a copy.
    holders: u8,
    /// A process was killed while it used the file: a forked child's copy may outlive it.
    user_was_killed: bool,
}

/// What a thread is about to do with its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Aim {
    Remove,
    /// In place: nobody may remove the file from the directory.
    TakeOver,
    Publish,
    Release,
    Adopt,
}

/// A thread, and its memory between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    pub(crate) next: Next,
    pub(crate) file: Option<FileId>,
    pub(crate) aim: Aim,
    /// The pid that it read, or that its guard belongs to.
    pub(crate) pid: Pid,
    /// The stamp that it read.
    pub(crate) stamp: Pid,
}

pub(crate) const IDLE: Thread =
    Thread { next: Next::Begin, file: None, aim: Aim::Remove, pid: 0, stamp: 0 };

/// What must never happen, recorded at the call that does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "one for each property")]
pub(crate) struct Sins {
    pub(crate) release_touched_anothers_file: bool,
    pub(crate) takeover_hit_a_file_in_use: bool,
    pub(crate) busy_without_a_holder: bool,
    pub(crate) leftover_was_busy: bool,
    pub(crate) data_was_touched: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) file_system: FileSystem,
    /// A sticky directory: nobody may remove another user's file.
    is_sticky: bool,
    /// The path, and a second name that somebody may have given to its file.
    names: [Option<u8>; NAMES],
    /// The file that a mount believes the path to name, without asking.
    cached: [Option<u8>; MOUNTS],
    inodes: [Option<Inode>; INODES],
    files: [Option<OpenFile>; FILES],
    pids: [Life; PIDS],
    pub(crate) processes: [Option<Pid>; PROCESSES],
    pub(crate) threads: [Thread; THREADS],
    pub(crate) sins: Sins,
}

impl World {
    pub(crate) fn empty(file_system: FileSystem, is_sticky: bool) -> World {
        World {
            file_system,
            is_sticky,
            names: [None; NAMES],
            cached: [None; MOUNTS],
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

    /// Whether `record` names a pid-only owner.
    pub(crate) fn is_pid_only_owner(&self, record: Pid) -> bool {
        let index = usize::from(record.wrapping_sub(1));
        self.pids.get(index) == Some(&Life::PidOnlyOwner)
    }

    pub(crate) fn set_life(&mut self, pid: Pid, life: Life) {
        self.pids[usize::from(pid) - 1] = life;
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

    fn user(&self, process: ProcessId) -> u8 {
        small(process % if self.is_sticky { 2 } else { 1 })
    }

    /// No named inode is kernel-locked without an owner or an attempt.
    pub(crate) fn every_named_lock_has_a_user(&self) -> bool {
        let named = |file: &OpenFile| self.names.contains(&Some(file.inode));
        let used = |id| self.threads.iter().any(|thread| thread.file == Some(small(id)));
        let mut open = self.files.iter().enumerate().filter_map(|(id, file)| Some((id, (*file)?)));
        open.all(|(id, file)| !file.locked || !named(&file) || file.user_was_killed || used(id))
    }

    /// What the path names now, for a trace.
    pub(crate) fn describe_lock_file(&self) -> String {
        let Some(inode) = self.at_path() else { return "no lock file".to_owned() };
        let record = match inode.record {
            BLANK => "blank".to_owned(),
            DATA => "somebody's data".to_owned(),
            pid => format!("pid {pid}"),
        };
        let stamp = match inode.stamp {
            0 => String::new(),
            pid if pid == inode.record => ", stamped".to_owned(),
            pid => format!(", stamp for {pid}"),
        };
        let locked = if self.is_locked() { "kernel lock held" } else { "no kernel lock" };
        format!("lock file: {record}{stamp}, {locked}")
    }
}

fn small(index: usize) -> u8 {
    u8::try_from(index).expect("the tables are short")
}
