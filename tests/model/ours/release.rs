//! `src/guard.rs`: release, the Drop of a forked copy, and adopt.
//!
//! From the first call of a release on, its process owns nothing.

use super::Call;
use crate::promise;
use crate::setup::Mutant;
use crate::step::Next;
use crate::world::{Aim, BLANK};

impl Call<'_> {
    pub(super) fn read_own_record(&mut self) {
        let is_ours = self.world.read(self.file()).record == self.thread.pid;
        if !is_ours && !self.rules.is(Mutant::NoRecordCheck) {
            self.then(Next::CloseOwn);
        } else if self.rules.is(Mutant::NoReleaseCheck) {
            self.then(Next::UnlinkOwn);
        } else {
            self.prove_own(Aim::Release);
        }
    }

    /// On a local file system the inode number of an open file is proof enough.
    fn prove_own(&mut self, aim: Aim) {
        self.thread.aim = aim;
        let is_enough =
            self.world.is_local(self.process) || self.rules.is(Mutant::OwnByNumberAlone);
        self.then(if is_enough { Next::ProvePath } else { Next::ProveWord });
    }

    pub(super) fn unlink_own(&mut self) {
        let is_anothers = self.world.at_path().is_some() && !self.world.is_at_path(self.file());
        let unlinked = self.world.unlink(self.process);
        self.world.sins.release_touched_anothers_file |= unlinked && is_anothers;
        self.then(if unlinked { Next::CloseOwn } else { Next::EmptyOwn });
    }

    pub(super) fn empty_own(&mut self) {
        let file = self.file();
        self.world.sins.release_touched_anothers_file |= self.world.is_locked_by_another(file);
        promise::note_a_write(self.world, file);
        self.world.write(file, BLANK);
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
        if self.world.read(self.file()).record == self.thread.pid {
            self.prove_own(Aim::Adopt);
        } else {
            self.then(Next::DropCopy);
        }
    }

    pub(super) fn adopt_empty(&mut self) {
        self.write(BLANK);
        self.then(Next::WriteRecord);
    }

    /// The child reports that `adopt` has returned; in the model the record shows it.
    pub(super) fn await_child(&mut self) -> Option<()> {
        let is_adopted = self.world.read(self.file()).record != self.thread.pid;
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
