//! Who owns the lock, and the promise to a program that knows only the record.
//!
//! Such a program reads the file, checks whether its pid is alive, and if not writes its own pid into the same
//! file. Anything may happen between its check and its write, so it may overwrite a live owner's record. That
//! is its own fault, and counts against nobody. The promise is: **the program owns the lock as soon as its
//! complete record is under the path and no process of ours is past its fstat of that file (about to take it,
//! owning it, or about to release it), until it ends, removes the file, or another such program overwrites the
//! record.** After the fstat, no further call could notice the program. With the kernel lock alone, nothing is
//! promised.

use crate::setup::Rules;
use crate::step::Next;
use crate::world::{DATA, FileId, Life, Sins, THREADS, Thread, World};

impl Rules {
    pub(crate) fn owners(&self, world: &World) -> usize {
        let owns = |thread: &&Thread| match (thread.next, thread.file) {
            (Next::Own | Next::SeedOwn, _) => true,
            (Next::ScriptOwns, _) => world.record_at_path() == Some(thread.pid),
            (Next::AwaitChild, Some(file)) => world.read(file).record == thread.pid,
            _ => false,
        };
        let pid_only = (1..=self.pids).filter(|&pid| world.life(pid) == Life::PidOnlyOwner);
        world.threads.iter().filter(owns).count() + pid_only.count()
    }

    /// Makes owners of the scripts to which the promise gives the lock.
    pub(crate) fn keep_the_promise(&self, world: &mut World) {
        for id in 0..THREADS {
            let thread = world.threads[id];
            if thread.next == Next::ScriptWrote
                && !self.kernel_lock_only
                && world.record_at_path() == Some(thread.pid)
                && !world.threads.iter().any(|&other| has_begun(world, other))
            {
                world.threads[id].next = Next::ScriptOwns;
            }
        }
    }
}

/// Whether the thread is past its fstat of the file that the path names.
fn has_begun(world: &World, thread: Thread) -> bool {
    let is_before = matches!(
        thread.next,
        Next::Begin
            | Next::Flock
            | Next::FstatRefused
            | Next::Fstat
            | Next::FlockNew
            | Next::FstatNew
            | Next::UnlockBusy
            | Next::UnlockStale
            | Next::Reopen
            | Next::CloseOwn
            | Next::DropCopy
    );
    !is_before && thread.file.is_some_and(|file| world.is_at_path(file))
}

fn has_a_pid_only_owner(world: &World) -> bool {
    world.record_at_path().is_some_and(|pid| {
        let owns = |thread: &Thread| thread.next == Next::ScriptOwns && thread.pid == pid;
        world.is_pid_only_owner(pid) || world.threads.iter().any(owns)
    })
}

/// `file` is the file that the remover of the name meant to remove.
pub(crate) fn note_a_removal(before: &World, file: FileId, sins: &mut Sins) {
    let is_in_use = if before.is_at_path(file) {
        before.is_locked_by_another(file)
    } else {
        before.is_locked()
    };
    sins.takeover_hit_a_file_in_use |= is_in_use || has_a_pid_only_owner(before);
    sins.data_was_touched |= before.record_at_path() == Some(DATA);
}

pub(crate) fn note_a_write(world: &mut World, file: FileId) {
    let is_owned = world.is_at_path(file) && has_a_pid_only_owner(world);
    world.sins.takeover_hit_a_file_in_use |= is_owned || world.is_locked_by_another(file);
    world.sins.data_was_touched |= world.is_somebodys_data(file);
}
