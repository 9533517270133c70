//! Step 3: the proof that the path still names the file, and what it allows.

use super::Call;
use crate::promise;
use crate::setup::Mutant;
use crate::step::Next;
use crate::world::{Aim, BLANK, Word};

impl Call<'_> {
    pub(super) fn prove_fstat(&mut self) {
        // Its content has been judged. Forgetting it here merges many states into one.
        (self.thread.pid, self.thread.stamp) = (0, 0);
        let count = self.world.link_count(self.file());
        let may_be_written = self.thread.aim != Aim::TakeOver
            || count == 1
            || self.rules.is(Mutant::TakeoverIgnoresLinks);
        if self.rules.is(Mutant::NoProof) {
            self.proven();
        } else if count == 0 || !may_be_written {
            self.then(Next::UnlockStale);
        } else {
            self.prove_by_word();
        }
    }

    pub(super) fn prove_by_word(&mut self) {
        if self.rules.is(Mutant::NumberAlone) {
            self.prove_by_path();
        } else {
            self.then(Next::ProveWord);
        }
    }

    pub(super) fn prove_word(&mut self) {
        let is_named = match self.world.kernels_word(self.process, self.file()) {
            Word::TheName => true,
            Word::AnotherName => self.rules.is(Mutant::SillyRenameTaken),
            Word::Deleted => false,
        };
        if !is_named {
            self.then(self.thread.aim.once_refused());
        } else if self.rules.is(Mutant::KernelsWordAlone) {
            self.proven();
        } else {
            self.prove_by_path();
        }
    }

    /// Opening the directory is a step only if it changes something.
    fn prove_by_path(&mut self) {
        let asks = self.world.caches_names(self.process);
        self.then(if asks { Next::ProveDirectory } else { Next::ProvePath });
    }

    pub(super) fn prove_directory(&mut self) {
        self.world.open_directory(self.process);
        self.then(Next::ProvePath);
    }

    pub(super) fn prove_path(&mut self) {
        if self.world.lstat_names(self.process, self.file()) {
            self.proven();
        } else {
            self.then(self.thread.aim.once_refused());
        }
    }

    fn proven(&mut self) {
        let next = match self.thread.aim {
            Aim::Publish => return self.own(),
            Aim::Remove if self.rules.is(Mutant::UnlockBeforeUnlink) => Next::EarlyUnlock,
            Aim::Release if self.rules.is(Mutant::ReleaseUnlocksFirst) => Next::EarlyUnlock,
            aim => aim.once_proven(),
        };
        self.then(next);
    }

    pub(super) fn early_unlock(&mut self) {
        self.world.flock_unlock(self.file());
        self.then(self.thread.aim.once_proven());
    }

    pub(super) fn unlink_stale(&mut self) {
        let before = self.world.clone();
        let unlinked = self.world.unlink(self.process);
        if unlinked {
            promise::note_a_removal(&before, self.file(), &mut self.world.sins);
        }
        self.then(if unlinked { Next::UnlockStale } else { Next::Reopen });
    }

    pub(super) fn empty(&mut self) {
        self.write(BLANK);
        self.then(Next::WriteRecord);
    }

    pub(super) fn write(&mut self, record: u8) {
        promise::note_a_write(self.world, self.file());
        self.world.write(self.file(), record);
    }
}
