//! The next calls that a thread can make, with the step numbers of `Lockfile::try_lock`.

macro_rules! steps {
    ($($name:ident = $label:literal,)*) => {
        /// The call that a thread makes next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Next { $($name,)* }

        impl Next {
            pub(crate) fn label(self) -> &'static str {
                match self { $(Next::$name => $label,)* }
            }
        }
    };
}

steps! {
    Begin = "step 1: open the path",
    Flock = "step 2: flock, without waiting",
    FstatRefused = "step 2: refused: fstat, is it still named?",
    Fstat = "step 2: fstat, is it still named, what is its stamp?",
    ReadRecord = "step 2: read the record",
    Kill = "step 2: kill(pid, 0)",
    Proc = "step 2: read /proc/PID/status",
    UnlockBusy = "step 2: unlock and close: Busy",
    ProveFstat = "proof a: fstat, is it still named?",
    ProveWord = "proof b: readlink of /proc/thread-self/fd/N",
    ProveDirectory = "proof c: open the directory",
    ProvePath = "proof c: fstatat, does the name still mean this file?",
    EarlyUnlock = "step 3: unlock, too early",
    UnlinkStale = "step 3: unlink the name",
    UnlockStale = "step 3: unlock and close",
    Reopen = "step 3: unlink refused: unlock and close, to open it read-write",
    Empty = "step 3: in place: ftruncate to 0",
    CreateUnnamed = "step 4: O_TMPFILE, flock, write the record, stamp",
    Link = "step 4: linkat to the path",
    LateFlock = "step 4: flock, too late",
    CreateExclusive = "step 4: open with O_CREAT and O_EXCL",
    EarlyWrite = "step 4: write the record, too early",
    FlockNew = "step 4: flock the new file",
    FstatNew = "step 4: fstat the new file, is it still empty?",
    EmptyNew = "step 4: not proven: ftruncate to 0",
    WriteRecord = "write the record",
    Stamp = "stamp",
    Own = "release: read the own record",
    UnlinkOwn = "release: unlink the name",
    EmptyOwn = "release: unlink refused: ftruncate to 0",
    CloseOwn = "release: close",
    DropCopy = "drop of a forked copy: getpid, close",
    AdoptRead = "adopt: read the parent's record",
    AdoptEmpty = "adopt: ftruncate to 0",
    AwaitChild = "release after the child's word: read the record",
    ScriptKill = "script: signal 0 to the pid",
    ScriptOpen = "script: open with O_CREAT",
    ScriptWrite = "script: write the own pid",
    ScriptWrote = "script: has written",
    ScriptOwns = "script: owns",
    SeedLink = "seed: link a temporary to the path",
    SeedLstat = "seed: lstat, does the name mean the temporary?",
    SeedRead = "seed: read the pid",
    SeedSignal = "seed: signal 0 to the pid",
    SeedRemove = "seed: judged stale: remove the name",
    SeedOwn = "seed: unlock: read the pid",
    SeedUnlock = "seed: unlock: remove the name",
}
