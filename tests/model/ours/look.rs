//! Steps 1 and 2: `incumbent::look`, and the judgement.

use super::Call;
use crate::setup::{Mutant, Publish};
use crate::step::Next;
use crate::world::{Aim, BLANK, DATA, IDLE, Life, Thread};

impl Call<'_> {
    pub(super) fn open_lock_file(&mut self) {
        self.thread.file = self.world.open(self.process);
        let publish = match self.rules.publish {
            Publish::Unnamed => Next::CreateUnnamed,
            Publish::Exclusive => Next::CreateExclusive,
        };
        self.then(if self.thread.file.is_some() { Next::Flock } else { publish });
    }

    pub(super) fn flock(&mut self) {
        let takes_over = self.thread.aim == Aim::TakeOver;
        let locked = self.world.flock(self.file());
        if locked || takes_over && self.rules.is(Mutant::TakeoverWithoutLock) {
            self.then(Next::Fstat);
        } else if self.rules.is(Mutant::RefusedMeansBusy) {
            self.say_busy();
        } else {
            self.then(Next::FstatRefused);
        }
    }

    pub(super) fn fstat_refused(&mut self) {
        if self.world.link_count(self.file()) == 0 {
            self.give_up();
        } else {
            self.say_busy();
        }
    }

    fn say_busy(&mut self) {
        if !self.world.is_at_path(self.file()) && !self.world.is_locked() {
            self.world.sins.busy_without_a_holder = true;
        }
        self.give_up();
    }

    pub(super) fn fstat(&mut self) {
        self.thread.stamp = self.world.read(self.file()).stamp;
        let is_gone = self.world.link_count(self.file()) == 0;
        self.then(if is_gone && !self.rules.is(Mutant::NoProof) {
            Next::UnlockStale
        } else {
            Next::ReadRecord
        });
    }

    pub(super) fn read_record(&mut self) {
        let record = self.world.read(self.file()).record;
        let is_own = record == self.pid && !self.rules.is(Mutant::OwnPidHonoured);
        if record == DATA && !self.rules.is(Mutant::DataRemoved) {
            // `NotAPidFile`.
            self.then(Next::UnlockStale);
        } else if matches!(record, BLANK | DATA) || is_own || self.rules.kernel_lock_only {
            self.then(Next::ProveFstat);
        } else {
            self.thread.pid = record;
            self.then(Next::Kill);
        }
    }

    pub(super) fn kill(&mut self) {
        let is_free = self.world.life(self.thread.pid) == Life::Free;
        self.then(if is_free { Next::ProveFstat } else { Next::Proc });
    }

    pub(super) fn proc(&mut self) {
        let is_zombie = self.world.life(self.thread.pid) == Life::Zombie;
        let is_stale = is_zombie && !self.rules.is(Mutant::ZombiesAreAlive) || self.is_stamped();
        self.then(if is_stale { Next::ProveFstat } else { Next::UnlockBusy });
    }

    fn is_stamped(&self) -> bool {
        let for_its_pid = self.thread.stamp == self.thread.pid
            || self.thread.stamp != 0 && self.rules.is(Mutant::StampForAnyPid);
        let counts =
            self.world.is_local(self.process) || self.rules.is(Mutant::StampBelievedAnywhere);
        for_its_pid && counts
    }

    pub(super) fn unlock_busy(&mut self) {
        if self.world.read(self.file()).is_ours && self.world.is_local(self.process) {
            self.world.sins.leftover_was_busy = true;
        }
        self.unlock();
        self.give_up();
    }

    pub(super) fn unlock(&mut self) {
        if !self.rules.is(Mutant::CloseWithoutUnlock) {
            self.world.flock_unlock(self.file());
        }
    }

    pub(super) fn unlock_stale(&mut self) {
        self.unlock();
        self.give_up();
    }

    pub(super) fn reopen(&mut self) {
        self.unlock();
        self.close();
        *self.thread = Thread { aim: Aim::TakeOver, ..IDLE };
    }
}
