//! Step 4: `src/publish.rs`, the unnamed and the exclusive way, and how every way ends in ownership.

use super::Call;
use crate::setup::Mutant;
use crate::step::Next;
use crate::world::{Aim, BLANK, IDLE};

impl Call<'_> {
    pub(super) fn create_unnamed(&mut self) {
        let file = self.world.create_unnamed(self.process);
        if !self.rules.is(Mutant::NameBeforeLock) {
            self.world.flock(file);
        }
        self.world.write(file, self.pid);
        if self.gives_a_stamp() {
            self.world.stamp(file, self.pid);
        }
        self.thread.file = Some(file);
        self.then(Next::Link);
    }

    fn gives_a_stamp(&self) -> bool {
        self.world.is_local(self.process) || self.rules.is(Mutant::StampGivenAnywhere)
    }

    pub(super) fn link(&mut self) {
        let linked = if self.rules.is(Mutant::NamedTemporary) {
            self.world.link_as_an_inode(self.process, self.file())
        } else {
            self.world.link(self.process, self.file())
        };
        if !linked {
            self.give_up();
        } else if self.rules.is(Mutant::NameBeforeLock) {
            self.then(Next::LateFlock);
        } else {
            self.own();
        }
    }

    pub(super) fn late_flock(&mut self) {
        if self.world.flock(self.file()) { self.own() } else { self.give_up() }
    }

    pub(super) fn create_exclusive(&mut self) {
        self.thread.file = self.world.create_exclusive(self.process);
        if self.thread.file.is_none() {
            *self.thread = IDLE;
            return;
        }
        self.thread.aim = Aim::Publish;
        let is_early = self.rules.is(Mutant::RecordBeforeLock);
        self.then(if is_early { Next::EarlyWrite } else { Next::FlockNew });
    }

    pub(super) fn early_write(&mut self) {
        self.write(self.pid);
        self.then(Next::FlockNew);
    }

    pub(super) fn flock_new(&mut self) {
        if self.world.flock(self.file()) { self.then(Next::FstatNew) } else { self.give_up() }
    }

    pub(super) fn fstat_new(&mut self) {
        let is_empty = self.world.read(self.file()).record == BLANK
            || self.rules.is(Mutant::NewFileMayHaveARecord)
            || self.rules.is(Mutant::RecordBeforeLock);
        self.then(if is_empty { Next::WriteRecord } else { Next::UnlockStale });
    }

    pub(super) fn write_record(&mut self) {
        self.write(self.pid);
        let is_renewed = self.thread.aim != Aim::Adopt || !self.rules.is(Mutant::AdoptKeepsNoStamp);
        if self.gives_a_stamp() && is_renewed { self.then(Next::Stamp) } else { self.recorded() }
    }

    pub(super) fn stamp(&mut self) {
        self.world.stamp(self.file(), self.pid);
        self.recorded();
    }

    /// The proof comes after the record: on gocryptfs the name can lead to a second inode at any time.
    fn recorded(&mut self) {
        let unchecked =
            self.rules.is(Mutant::NoCheckAfterCreation) || self.rules.is(Mutant::NoProof);
        if self.thread.aim == Aim::Publish && !unchecked {
            self.prove_by_word();
        } else {
            self.own();
        }
    }

    pub(super) fn empty_new(&mut self) {
        self.write(BLANK);
        self.then(Next::UnlockStale);
    }
}
