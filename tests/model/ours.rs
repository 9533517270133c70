//! Our protocol, call by call: `try_lock` (steps 1 to 4 of src/lockfile.rs), release, and adopt.
//!
//! A call that nothing outside the thread can see or change shares a step with its neighbour: fstat of
//! a file just opened, close after an explicit unlock, and all that is done to a file without a name.

mod publish;
mod release;

use crate::rules::{Mutant, Publish, Rules};
use crate::step::Next;
use crate::world::{IDLE, LOCK_FILE, Life, ProcessId, Thread, World};

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
        let is_in_use = if self.world.lstat_names(name, file) {
            self.world.is_locked_by_another(file)
        } else {
            self.world.is_locked(name)
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
}
