//! Our protocol, call by call: `try_lock` (steps 1 to 4 of src/lockfile.rs), release, and adopt.
//!
//! A call whose effect no other thread can see or disturb shares a step with its neighbour: close after an
//! explicit unlock, and everything done to a file without a name.

mod look;
mod proof;
mod publish;
mod release;

use crate::setup::Rules;
use crate::step::Next;
use crate::world::{Aim, IDLE, ProcessId, Thread, World};

/// Makes the next call of one of our threads; `None` if the thread must wait.
pub(crate) fn step(rules: &Rules, world: &mut World, id: usize) -> Option<()> {
    let mut thread = world.threads[id];
    let process = rules.process_of(id);
    let mut call =
        Call { rules, process, pid: world.processes[process]?, thread: &mut thread, world };
    match call.thread.next {
        Next::Begin => call.open_lock_file(),
        Next::Flock => call.flock(),
        Next::FstatRefused => call.fstat_refused(),
        Next::Fstat => call.fstat(),
        Next::ReadRecord => call.read_record(),
        Next::Kill => call.kill(),
        Next::Proc => call.proc(),
        Next::UnlockBusy => call.unlock_busy(),
        Next::ProveFstat => call.prove_fstat(),
        Next::ProveWord => call.prove_word(),
        Next::ProveDirectory => call.prove_directory(),
        Next::ProvePath => call.prove_path(),
        Next::EarlyUnlock => call.early_unlock(),
        Next::UnlinkStale => call.unlink_stale(),
        Next::UnlockStale => call.unlock_stale(),
        Next::Reopen => call.reopen(),
        Next::Empty => call.empty(),
        Next::CreateUnnamed => call.create_unnamed(),
        Next::Link => call.link(),
        Next::LateFlock => call.late_flock(),
        Next::CreateExclusive => call.create_exclusive(),
        Next::EarlyWrite => call.early_write(),
        Next::FlockNew => call.flock_new(),
        Next::FstatNew => call.fstat_new(),
        Next::EmptyNew => call.empty_new(),
        Next::WriteRecord => call.write_record(),
        Next::Stamp => call.stamp(),
        Next::Own => call.read_own_record(),
        Next::UnlinkOwn => call.unlink_own(),
        Next::EmptyOwn => call.empty_own(),
        Next::CloseOwn => call.give_up(),
        Next::DropCopy => call.drop_copy(),
        Next::AdoptRead => call.adopt_read(),
        Next::AdoptEmpty => call.adopt_empty(),
        Next::AwaitChild => call.await_child()?,
        _ => unreachable!("a step of the seed's or a script's"),
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

    fn own(&mut self) {
        let is_complete = self.world.read(self.file()).record == self.pid;
        if is_complete && self.world.is_local(self.process) {
            self.world.mark_as_ours(self.file());
        }
        *self.thread = Thread { next: Next::Own, file: self.thread.file, pid: self.pid, ..IDLE };
    }
}

impl Aim {
    /// What a file is used for once the path is proven to name it.
    fn once_proven(self) -> Next {
        match self {
            Aim::Remove => Next::UnlinkStale,
            Aim::TakeOver => Next::Empty,
            Aim::Publish => unreachable!("then it owns"),
            Aim::Release => Next::UnlinkOwn,
            Aim::Adopt => Next::AdoptEmpty,
        }
    }

    fn once_refused(self) -> Next {
        match self {
            Aim::Remove | Aim::TakeOver => Next::UnlockStale,
            Aim::Publish => Next::EmptyNew,
            Aim::Release => Next::CloseOwn,
            Aim::Adopt => Next::DropCopy,
        }
    }
}
