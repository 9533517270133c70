//! Step 4: `src/publish.rs`, the unnamed way and the way of temporaries with its sweep of leftovers.

use super::Call;
use crate::rules::{Mutant, Publish};
use crate::step::Next;
use crate::world::{IDLE, LOCK_FILE, Thread};

impl Call<'_> {
    pub(super) fn create_unnamed(&mut self) {
        let file = self.world.create_unnamed(self.process, self.pid);
        if !self.rules.is(Mutant::NameBeforeLock) {
            self.world.flock(file);
        }
        self.thread.file = Some(file);
        self.then(Next::Link);
    }

    pub(super) fn link(&mut self) {
        if !self.world.link(self.file(), LOCK_FILE) {
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

    pub(super) fn own(&mut self) {
        *self.thread =
            Thread { next: Next::Own, file: self.thread.file, name: LOCK_FILE, pid: self.pid };
    }

    pub(super) fn open_leftover(&mut self) {
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

    pub(super) fn next_leftover(&mut self) {
        self.close();
        self.thread.name += 1;
        self.then(Next::OpenLeftover);
    }

    pub(super) fn create_named(&mut self) -> Option<()> {
        let name = self.world.free_temporary(self.rules.temporaries)?;
        self.thread.name = name;
        self.thread.file = Some(self.world.create_named(self.process, name));
        self.then(Next::FlockNamed);
        Some(())
    }

    pub(super) fn flock_named(&mut self) {
        if self.world.flock(self.file()) {
            self.then(Next::WriteNamed);
        } else {
            self.close();
            self.then(Next::UnlinkTemporary);
        }
    }

    pub(super) fn write_named(&mut self) {
        self.world.write_record(self.file(), self.pid);
        self.then(Next::LstatNamed);
    }

    pub(super) fn lstat_named(&mut self) {
        if self.world.lstat_names(self.thread.name, self.file()) {
            self.then(Next::Rename);
        } else {
            self.give_up();
        }
    }

    pub(super) fn rename(&mut self) {
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

    pub(super) fn rename_is_clobbering(&mut self) -> bool {
        let clobbers = self.rules.is(Mutant::RenameClobbers);
        if clobbers {
            self.world.unlink(LOCK_FILE);
            self.world.link(self.file(), LOCK_FILE);
        }
        clobbers
    }

    pub(super) fn unlink_renamed(&mut self) {
        self.world.unlink(self.thread.name);
        self.own();
    }

    pub(super) fn unlink_temporary(&mut self) {
        self.world.unlink(self.thread.name);
        if self.thread.file.is_some() {
            self.close();
        }
        *self.thread = IDLE;
    }
}
