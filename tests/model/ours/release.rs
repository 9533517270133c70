//! `src/guard.rs`: release, the Drop of a forked copy, and adopt.
//!
//! From the first call of a release on, its process owns nothing.

use super::Call;
use crate::rules::Mutant;
use crate::step::Next;
use crate::world::LOCK_FILE;

impl Call<'_> {
    pub(super) fn read_own_record(&mut self) {
        let is_ours = self.world.record(self.file()) == self.thread.pid;
        let goes_on = is_ours || self.rules.is(Mutant::NoRecordCheck);
        self.then(if goes_on { Next::LstatOwn } else { Next::CloseOwn });
    }

    pub(super) fn lstat_own(&mut self) {
        let is_named = self.world.lstat_names(LOCK_FILE, self.file());
        if self.rules.is(Mutant::ReleaseUnlocksFirst) {
            self.world.flock_unlock(self.file());
        }
        let goes_on = is_named || self.rules.is(Mutant::NoReleaseCheck);
        self.then(if goes_on { Next::UnlinkOwn } else { Next::CloseOwn });
    }

    pub(super) fn unlink_own(&mut self) {
        if self.world.is_there(LOCK_FILE) && !self.world.lstat_names(LOCK_FILE, self.file()) {
            self.world.sins.release_removed_anothers_file = true;
        }
        self.world.unlink(LOCK_FILE);
        self.then(Next::CloseOwn);
    }

    pub(super) fn drop_copy(&mut self) {
        if self.thread.pid == self.pid || self.rules.is(Mutant::ChildDropUnlinks) {
            self.read_own_record();
        } else {
            self.give_up();
        }
    }

    pub(super) fn adopt_read(&mut self) {
        let is_parents = self.world.record(self.file()) == self.thread.pid;
        self.then(if is_parents { Next::AdoptLstat } else { Next::DropCopy });
    }

    pub(super) fn adopt_lstat(&mut self) {
        let is_named = self.world.lstat_names(LOCK_FILE, self.file());
        self.then(if is_named { Next::AdoptWrite } else { Next::DropCopy });
    }

    /// The cut that follows changes no first line, and so is no step.
    pub(super) fn adopt_write(&mut self) {
        self.world.write_record(self.file(), self.pid);
        self.own();
    }

    pub(super) fn await_child(&mut self) -> Option<()> {
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
