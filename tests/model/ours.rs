//! Our protocol, call by call: `try_lock` (steps 1 to 4 of src/lockfile.rs), release, and adopt.
//!
//! A call that nothing outside the thread can see or change shares a step with its neighbour: fstat of
//! a file just opened, close after an explicit unlock, and all that is done to a file without a name.

use crate::world::{IDLE, LOCK_FILE, Life, ProcessId, Thread, World};
use crate::{Mutant, Next, Publish, Rules};

/// One thread of ours makes its next call; `None` if it has to wait.
pub(crate) fn step(rules: &Rules, world: &mut World, id: usize) -> Option<()> {
    let mut thread = world.threads[id];
    let process = rules.process_of(id);
    let mut call =
        Call { rules, process, pid: world.processes[process]?, thread: &mut thread, world };
    match call.thread.next {
        Next::Begin => call.open_lock_file(),
        Next::Flock => call.flock(),
        Next::FstatRefused => call.fstat_refused(),
        Next::ReadRecord => call.read_record(),
        Next::Kill => call.kill(),
        Next::Proc => call.proc(),
        Next::UnlockBusy => call.unlock_busy(),
        Next::LstatStale => call.lstat_stale(),
        Next::EarlyUnlock => call.early_unlock(),
        Next::UnlinkStale => call.unlink_stale(),
        Next::UnlockStale => call.unlock_stale(),
        Next::CreateUnnamed => call.create_unnamed(),
        Next::Link => call.link(),
        Next::LateFlock => call.late_flock(),
        Next::OpenLeftover => call.open_leftover(),
        Next::CreateNamed => call.create_named()?,
        Next::FlockNamed => call.flock_named(),
        Next::WriteNamed => call.write_named(),
        Next::LstatNamed => call.lstat_named(),
        Next::Rename => call.rename(),
        Next::UnlinkRenamed => call.unlink_renamed(),
        Next::UnlinkTemporary => call.unlink_temporary(),
        Next::Own => call.read_own_record(),
        Next::LstatOwn => call.lstat_own(),
        Next::UnlinkOwn => call.unlink_own(),
        Next::CloseOwn => call.give_up(),
        Next::DropCopy => call.drop_copy(),
        Next::AdoptRead => call.adopt_read(),
        Next::AdoptLstat => call.adopt_lstat(),
        Next::AdoptWrite => call.adopt_write(),
        Next::AwaitChild => call.await_child()?,
        _ => unreachable!("a step of the seed's"),
    }
    world.threads[id] = thread;
    Some(())
}

struct Call<'a> {
    rules: &'a Rules,
    world: &'a mut World,
    process: ProcessId,
    pid: u8,
    thread: &'a mut Thread,
}

impl Call<'_> {
    fn then(&mut self, next: Next) {
        self.thread.next = next;
    }

    fn file(&self) -> u8 {
        self.thread.file.expect("this step has a file")
    }

    fn close(&mut self) {
        self.world.close(self.process, self.file());
        self.thread.file = None;
    }

    fn give_up(&mut self) {
        self.close();
        *self.thread = IDLE;
    }

    // Steps 1 and 2: `incumbent::look`, of the lock file or, in a sweep, of a temporary.

    fn open_lock_file(&mut self) {
        self.thread.file = self.world.open(self.process, LOCK_FILE);
        self.then(match (self.thread.file, self.rules.publish) {
            (Some(_), _) => Next::Flock,
            (None, Publish::Unnamed) => Next::CreateUnnamed,
            (None, _) => Next::OpenLeftover,
        });
        if self.thread.next == Next::OpenLeftover {
            self.thread.name = 1;
        }
    }

    fn flock(&mut self) {
        let is_sweep = self.thread.name != LOCK_FILE;
        match (self.world.flock(self.file()), is_sweep) {
            (true, false) if !self.rules.kernel_lock_only => self.then(Next::ReadRecord),
            (true, _) => self.then(Next::LstatStale),
            (false, true) => self.next_leftover(),
            (false, false) if self.rules.is(Mutant::RefusedMeansBusy) => self.say_busy(),
            (false, false) => self.then(Next::FstatRefused),
        }
    }

    fn fstat_refused(&mut self) {
        if self.world.link_count(self.file()) == 0 {
            self.give_up();
        } else {
            self.say_busy();
        }
    }

    fn say_busy(&mut self) {
        if !self.world.lstat_names(LOCK_FILE, self.file()) && !self.world.is_locked(LOCK_FILE) {
            self.world.sins.busy_without_a_holder = true;
        }
        self.give_up();
    }

    fn read_record(&mut self) {
        let pid = self.world.record(self.file());
        if pid == 0 || (pid == self.pid && !self.rules.is(Mutant::OwnPidHonoured)) {
            self.then(Next::LstatStale);
        } else {
            self.thread.pid = pid;
            self.then(Next::Kill);
        }
    }

    fn kill(&mut self) {
        let is_free = self.world.life(self.thread.pid) == Life::Free;
        self.judge(is_free, Next::Proc);
    }

    fn proc(&mut self) {
        let is_zombie = self.world.life(self.thread.pid) == Life::Zombie;
        self.judge(is_zombie && !self.rules.is(Mutant::ZombiesAreAlive), Next::UnlockBusy);
    }

    fn judge(&mut self, is_stale: bool, otherwise: Next) {
        let next = if is_stale { Next::LstatStale } else { otherwise };
        if next != Next::Proc {
            self.thread.pid = 0;
        }
        self.then(next);
    }

    fn unlock_busy(&mut self) {
        if !self.rules.is(Mutant::CloseWithoutUnlock) {
            self.world.flock_unlock(self.file());
        }
        self.give_up();
    }

    // Step 3: `Incumbent::remove` and its Drop.

    fn lstat_stale(&mut self) {
        let is_named = self.world.lstat_names(self.thread.name, self.file());
        self.then(if !is_named && !self.rules.is(Mutant::NoPathCheck) {
            Next::UnlockStale
        } else if self.rules.is(Mutant::UnlockBeforeUnlink) {
            Next::EarlyUnlock
        } else {
            Next::UnlinkStale
        });
    }

    fn early_unlock(&mut self) {
        self.world.flock_unlock(self.file());
        self.then(Next::UnlinkStale);
    }

    fn unlink_stale(&mut self) {
        let (name, file) = (self.thread.name, self.file());
        let is_in_use = match self.world.lstat_names(name, file) {
            true => self.world.is_locked_by_another(file),
            false => self.world.is_locked(name),
        };
        let owner = self.world.record_at(name).filter(|&pid| pid != 0);
        if is_in_use || owner.is_some_and(|pid| self.world.life(pid) == Life::PidOnlyOwner) {
            self.world.sins.stale_removal_hit_a_file_in_use = true;
        }
        self.world.unlink(name);
        self.then(Next::UnlockStale);
    }

    fn unlock_stale(&mut self) {
        if !self.rules.is(Mutant::CloseWithoutUnlock) {
            self.world.flock_unlock(self.file());
        }
        if self.thread.name == LOCK_FILE { self.give_up() } else { self.next_leftover() }
    }

    // Step 4: `publish::unnamed`. Nobody else can reach a file without a name: one step.

    fn create_unnamed(&mut self) {
        let file = self.world.create_unnamed(self.process, self.pid);
        if !self.rules.is(Mutant::NameBeforeLock) {
            self.world.flock(file);
        }
        self.thread.file = Some(file);
        self.then(Next::Link);
    }

    fn link(&mut self) {
        if !self.world.link(self.file(), LOCK_FILE) {
            self.give_up();
        } else if self.rules.is(Mutant::NameBeforeLock) {
            self.then(Next::LateFlock);
        } else {
            self.own();
        }
    }

    fn late_flock(&mut self) {
        if self.world.flock(self.file()) { self.own() } else { self.give_up() }
    }

    fn own(&mut self) {
        *self.thread =
            Thread { next: Next::Own, file: self.thread.file, name: LOCK_FILE, pid: self.pid };
    }

    // Step 4: `publish::temporary`, first its sweep of leftovers.

    fn open_leftover(&mut self) {
        let mut leftovers = self.thread.name..=self.rules.temporaries;
        let leftover = leftovers.find(|&name| self.world.is_there(name));
        let Some(name) = leftover.filter(|_| !self.rules.is(Mutant::NoSweep)) else {
            self.thread.name = LOCK_FILE;
            return self.then(Next::CreateNamed);
        };
        self.thread.name = name;
        self.thread.file = self.world.open(self.process, name);
        self.then(if self.rules.is(Mutant::SweepWithoutLock) {
            Next::UnlinkStale
        } else {
            Next::Flock
        });
    }

    fn next_leftover(&mut self) {
        self.close();
        self.thread.name += 1;
        self.then(Next::OpenLeftover);
    }

    fn create_named(&mut self) -> Option<()> {
        let name = self.world.free_temporary(self.rules.temporaries)?;
        self.thread.name = name;
        self.thread.file = Some(self.world.create_named(self.process, name));
        self.then(Next::FlockNamed);
        Some(())
    }

    fn flock_named(&mut self) {
        if self.world.flock(self.file()) {
            self.then(Next::WriteNamed);
        } else {
            self.close();
            self.then(Next::UnlinkTemporary);
        }
    }

    fn write_named(&mut self) {
        self.world.write_record(self.file(), self.pid);
        self.then(Next::LstatNamed);
    }

    fn lstat_named(&mut self) {
        if self.world.lstat_names(self.thread.name, self.file()) {
            self.then(Next::Rename);
        } else {
            self.give_up();
        }
    }

    fn rename(&mut self) {
        let is_named = self.world.lstat_names(self.thread.name, self.file());
        if !is_named {
            self.give_up();
        } else if !self.rename_is_clobbering() && !self.world.link(self.file(), LOCK_FILE) {
            self.then(Next::UnlinkTemporary);
        } else if self.rules.publish == Publish::LinkedTemporary {
            self.then(Next::UnlinkRenamed);
        } else {
            self.world.unlink(self.thread.name);
            self.own();
        }
    }

    fn rename_is_clobbering(&mut self) -> bool {
        let clobbers = self.rules.is(Mutant::RenameClobbers);
        if clobbers {
            self.world.unlink(LOCK_FILE);
            self.world.link(self.file(), LOCK_FILE);
        }
        clobbers
    }

    fn unlink_renamed(&mut self) {
        self.world.unlink(self.thread.name);
        self.own();
    }

    fn unlink_temporary(&mut self) {
        self.world.unlink(self.thread.name);
        if self.thread.file.is_some() {
            self.close();
        }
        *self.thread = IDLE;
    }

    // Release: `LockGuard::release`. From its first call on, the caller owns nothing.

    fn read_own_record(&mut self) {
        let is_ours = self.world.record(self.file()) == self.thread.pid;
        let goes_on = is_ours || self.rules.is(Mutant::NoRecordCheck);
        self.then(if goes_on { Next::LstatOwn } else { Next::CloseOwn });
    }

    fn lstat_own(&mut self) {
        let is_named = self.world.lstat_names(LOCK_FILE, self.file());
        if self.rules.is(Mutant::ReleaseUnlocksFirst) {
            self.world.flock_unlock(self.file());
        }
        let goes_on = is_named || self.rules.is(Mutant::NoReleaseCheck);
        self.then(if goes_on { Next::UnlinkOwn } else { Next::CloseOwn });
    }

    fn unlink_own(&mut self) {
        if self.world.is_there(LOCK_FILE) && !self.world.lstat_names(LOCK_FILE, self.file()) {
            self.world.sins.release_removed_anothers_file = true;
        }
        self.world.unlink(LOCK_FILE);
        self.then(Next::CloseOwn);
    }

    // After a fork: Drop of a copy, and `LockGuard::adopt`.

    fn drop_copy(&mut self) {
        if self.thread.pid == self.pid || self.rules.is(Mutant::ChildDropUnlinks) {
            self.read_own_record();
        } else {
            self.give_up();
        }
    }

    fn adopt_read(&mut self) {
        let is_parents = self.world.record(self.file()) == self.thread.pid;
        self.then(if is_parents { Next::AdoptLstat } else { Next::DropCopy });
    }

    fn adopt_lstat(&mut self) {
        let is_named = self.world.lstat_names(LOCK_FILE, self.file());
        self.then(if is_named { Next::AdoptWrite } else { Next::DropCopy });
    }

    /// The cut that follows changes no first line, and so is no step.
    fn adopt_write(&mut self) {
        self.world.write_record(self.file(), self.pid);
        self.own();
    }

    fn await_child(&mut self) -> Option<()> {
        let is_adopted = self.world.record(self.file()) != self.thread.pid;
        if is_adopted || self.rules.is(Mutant::ParentDoesNotWait) {
            self.read_own_record();
        } else if self.world.is_shared(self.file()) {
            return None;
        } else {
            self.then(Next::Own);
        }
        Some(())
    }
}
