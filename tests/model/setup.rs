//! The parameters of a run.

use crate::world::{FileSystem, Pid};

/// A plausible mistake in the implementation, or in its use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mutant {
    NoProof,
    NumberAlone,
    KernelsWordAlone,
    SillyRenameTaken,
    UnlockBeforeUnlink,
    CloseWithoutUnlock,
    RefusedMeansBusy,
    ZombiesAreAlive,
    OwnPidHonoured,
    DataRemoved,
    StampForAnyPid,
    StampBelievedAnywhere,
    StampGivenAnywhere,
    TakeoverIgnoresLinks,
    TakeoverWithoutLock,
    NameBeforeLock,
    NamedTemporary,
    RecordBeforeLock,
    NoCheckAfterCreation,
    NewFileMayHaveARecord,
    ReleaseUnlocksFirst,
    NoReleaseCheck,
    OwnByNumberAlone,
    NoRecordCheck,
    ChildDropUnlinks,
    AdoptKeepsNoStamp,
    ParentDoesNotWait,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Publish {
    Unnamed,
    /// Where the file system has no `O_TMPFILE`.
    Exclusive,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fork {
    AndDrop,
    AndAdopt,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rm {
    Never,
    NotBetweenCheckAndUnlink,
    AtAnyTime,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    Absent,
    /// The record names pid 1, and no such process runs.
    Stale,
    /// The record names a pid that no process gets again.
    LongStale,
    Blank,
    /// Content that can't be a lock file.
    Data,
    /// A stale lock file of the second user that is also somebody's file, under another name.
    Planted,
    /// A pid-only peer with pid 1 owns the lock.
    PidOnlyOwner,
}

/// The processes of a run, and what may happen to them.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub(crate) struct Rules {
    pub(crate) ours: usize,
    /// Processes that run the seed's algorithm.
    pub(crate) seeds: usize,
    /// Programs that know only the record and write in place.
    pub(crate) scripts: usize,
    pub(crate) scripts_truncate: bool,
    /// The number of children that may exist at a time.
    pub(crate) children: usize,
    /// The threads of each process of ours.
    pub(crate) threads: usize,
    pub(crate) pids: Pid,
    pub(crate) starts: &'static [Start],
    pub(crate) crashes: bool,
    pub(crate) zombies: bool,
    /// Unrelated processes take free pids.
    pub(crate) strangers: bool,
    pub(crate) rm: Rm,
    pub(crate) fork: Fork,
    pub(crate) file_system: FileSystem,
    /// Two users, by turns, in a sticky directory: neither may remove the other's file.
    pub(crate) sticky: bool,
    pub(crate) publish: Publish,
    pub(crate) kernel_lock_only: bool,
    pub(crate) mutant: Option<Mutant>,
}
