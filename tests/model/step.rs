//! The calls a thread can be about to make, under the step numbers of `Lockfile::try_lock`.

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
    ReadRecord = "step 2: read the record",
    Kill = "step 2: kill(pid, 0)",
    Proc = "step 2: read /proc/PID/status",
    UnlockBusy = "step 2: unlock and close: Busy",
    LstatStale = "step 3: lstat, does the name still mean this file?",
    EarlyUnlock = "step 3: unlock, too early",
    UnlinkStale = "step 3: unlink the name",
    UnlockStale = "step 3: unlock and close",
    CreateUnnamed = "step 4: O_TMPFILE, flock, write the record",
    Link = "step 4: linkat to the path",
    LateFlock = "step 4: flock, too late",
    OpenLeftover = "step 4: list and open a leftover temporary",
    CreateNamed = "step 4: create a temporary",
    FlockNamed = "step 4: flock the temporary",
    WriteNamed = "step 4: write the record",
    LstatNamed = "step 4: lstat the temporary",
    Rename = "step 4: rename the temporary to the path",
    UnlinkRenamed = "step 4: unlink the temporary's name, linked by now",
    UnlinkTemporary = "step 4: name taken: unlink the temporary",
    Own = "release: read the own record",
    LstatOwn = "release: lstat, does the name still mean this file?",
    UnlinkOwn = "release: unlink the name",
    CloseOwn = "release: close",
    DropCopy = "drop of a forked copy: getpid, close",
    AdoptRead = "adopt: read the parent's record",
    AdoptLstat = "adopt: lstat, does the name still mean this file?",
    AdoptWrite = "adopt: write the own record",
    AwaitChild = "release after the child's word: read the record",
    SeedLink = "seed: link a temporary to the path",
    SeedLstat = "seed: lstat, does the name mean the temporary?",
    SeedRead = "seed: read the pid",
    SeedSignal = "seed: signal 0 to the pid",
    SeedRemove = "seed: judged stale: remove the name",
    SeedOwn = "seed: unlock: read the pid",
    SeedUnlock = "seed: unlock: remove the name",
}
