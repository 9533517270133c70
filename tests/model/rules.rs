//! Who takes part, and what may happen between any two steps.

use std::ops::Range;

use crate::step::Next;
use crate::world::{IDLE, LOCK_FILE, Life, Pid, ProcessId, Thread, World};
use crate::{ours, seed};

/// A plausible slip in the implementation, or in its use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mutant {
    NoPathCheck,
    UnlockBeforeUnlink,
    CloseWithoutUnlock,
    RefusedMeansBusy,
    ZombiesAreAlive,
    OwnPidHonoured,
    NameBeforeLock,
    RenameClobbers,
    NoSweep,
    SweepWithoutLock,
    ReleaseUnlocksFirst,
    NoReleaseCheck,
    NoRecordCheck,
    ChildDropUnlinks,
    ParentDoesNotWait,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Publish {
    Unnamed,
    /// `publish::temporary` where the kernel can rename without replacing.
    RenamedTemporary,
    /// The same where it cannot: tempfile links and unlinks instead.
    LinkedTemporary,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fork {
    AndDrop,
    AndAdopt,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rm {
    Never,
    NotBetweenCheckAndUnlink,
    AtAnyTime,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    Absent,
    /// The record names pid 1, and no such process runs.
    Stale,
    /// The record names a pid that nobody gets again.
    LongStale,
    Junk,
    /// A pid-only peer with pid 1 owns the lock.
    PidOnlyOwner,
}

/// Who takes part, and what may happen to them.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that have nothing to do with each other"
)]
pub(crate) struct Rules {
    pub(crate) ours: usize,
    /// Processes that run the seed's algorithm.
    pub(crate) seeds: usize,
    /// Children that may exist at a time.
    pub(crate) children: usize,
    /// Of each process of ours.
    pub(crate) threads: usize,
    pub(crate) pids: Pid,
    pub(crate) starts: &'static [Start],
    pub(crate) crashes: bool,
    pub(crate) zombies: bool,
    /// Processes that have nothing to do with the lock take free pids.
    pub(crate) strangers: bool,
    pub(crate) rm: Rm,
    pub(crate) fork: Fork,
    pub(crate) publish: Publish,
    pub(crate) temporaries: u8,
    pub(crate) kernel_lock_only: bool,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Step(usize),
    Kill(ProcessId),
    Exit(ProcessId),
    Start(ProcessId, Pid),
    Fork(ProcessId, ProcessId, Pid),
    Stranger(Pid),
    StrangerEnds(Pid),
    Reap(Pid),
    PidOnlyOwnerUnlinks(Pid),
    Rm,
}

impl Rules {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn process_of(&self, thread: usize) -> ProcessId {
        thread / self.threads
    }

    pub(crate) fn is_seed(&self, process: ProcessId) -> bool {
        (self.ours..self.ours + self.seeds).contains(&process)
    }

    /// A fork copies one thread only, and the seed has one.
    fn threads_of(&self, process: ProcessId) -> Range<usize> {
        let first = process * self.threads;
        first..first + if process < self.ours { self.threads } else { 1 }
    }

    fn children(&self) -> Range<ProcessId> {
        let first = self.ours + self.seeds;
        first..first + self.children
    }

    pub(crate) fn step(&self, world: &mut World, thread: usize) -> Option<()> {
        let is_seed = self.is_seed(self.process_of(thread));
        if is_seed { seed::step(self, world, thread) } else { ours::step(self, world, thread) }
    }

    fn free_pids(&self, world: &World) -> impl Iterator<Item = Pid> {
        (1..=self.pids).filter(|&pid| world.life(pid) == Life::Free)
    }

    fn process_events(&self, world: &World, process: ProcessId, events: &mut Vec<Event>) {
        let threads = self.threads_of(process);
        if world.processes[process].is_none() {
            if !self.children().contains(&process) {
                events.extend(self.free_pids(world).map(|pid| Event::Start(process, pid)));
            }
            return;
        }
        events.extend(threads.clone().map(Event::Step));
        if self.crashes {
            events.push(Event::Kill(process));
        } else if threads.clone().all(|thread| world.threads[thread] == IDLE) {
            events.push(Event::Exit(process));
        }
        let child = self.children().find(|&child| world.processes[child].is_none());
        if let Some(child) =
            child.filter(|_| !self.is_seed(process) && self.may_fork(world, threads))
        {
            events.extend(self.free_pids(world).map(|pid| Event::Fork(process, child, pid)));
        }
    }

    fn may_fork(&self, world: &World, threads: Range<usize>) -> bool {
        let is_unshared_owner = |thread: usize| {
            let thread = world.threads[thread];
            thread.next == Next::Own && thread.file.is_some_and(|file| !world.is_shared(file))
        };
        self.fork == Fork::AndDrop || threads.into_iter().any(is_unshared_owner)
    }

    fn fork(&self, world: &mut World, parent: ProcessId, child: ProcessId, pid: Pid) {
        world.start(child, pid);
        world.share_files(parent, child);
        let has_guard =
            |thread: &usize| matches!(world.threads[*thread].next, Next::Own | Next::DropCopy);
        let Some(holder) = self.threads_of(parent).find(has_guard) else {
            return;
        };
        let first = self.threads_of(child).start;
        world.threads[first] = world.threads[holder];
        world.threads[first].next = Next::DropCopy;
        if self.fork == Fork::AndAdopt {
            world.threads[first].next = Next::AdoptRead;
            world.threads[holder].next = Next::AwaitChild;
        }
    }

    fn is_removable(&self, world: &World) -> bool {
        let is_between = |next| matches!(next, Next::UnlinkStale | Next::UnlinkOwn);
        world.is_there(LOCK_FILE)
            && match self.rm {
                Rm::Never => false,
                Rm::NotBetweenCheckAndUnlink => !world.threads.iter().any(|t| is_between(t.next)),
                Rm::AtAnyTime => true,
            }
    }

    pub(crate) fn end(&self, world: &mut World, process: ProcessId) {
        let life = if self.zombies { Life::Zombie } else { Life::Free };
        world.end(process, self.threads_of(process), life);
    }

    pub(crate) fn owners(&self, world: &World) -> usize {
        let owns = |thread: &&Thread| match (thread.next, thread.file) {
            (Next::Own | Next::SeedOwn, _) => true,
            (Next::AwaitChild, Some(file)) => world.record(file) == thread.pid,
            _ => false,
        };
        let pid_only = (1..=self.pids).filter(|&pid| world.life(pid) == Life::PidOnlyOwner);
        world.threads.iter().filter(owns).count() + pid_only.count()
    }

    pub(crate) fn start(&self, start: Start) -> World {
        let mut world = World::empty();
        match start {
            Start::Absent => {}
            Start::Stale => world.plant(LOCK_FILE, 1),
            Start::LongStale => world.plant(LOCK_FILE, self.pids + 1),
            Start::Junk => world.plant(LOCK_FILE, 0),
            Start::PidOnlyOwner => {
                world.plant(LOCK_FILE, 1);
                world.set_life(1, Life::PidOnlyOwner);
            }
        }
        world
    }

    pub(crate) fn events(&self, world: &World, events: &mut Vec<Event>) {
        for process in 0..self.children().end {
            self.process_events(world, process, events);
        }
        for pid in 1..=self.pids {
            match world.life(pid) {
                Life::Free if self.strangers => events.push(Event::Stranger(pid)),
                Life::Stranger => events.push(Event::StrangerEnds(pid)),
                Life::PidOnlyOwner => {
                    events.extend([Event::StrangerEnds(pid), Event::PidOnlyOwnerUnlinks(pid)]);
                }
                Life::Zombie => events.push(Event::Reap(pid)),
                Life::Free | Life::Playing => {}
            }
        }
        if self.is_removable(world) {
            events.push(Event::Rm);
        }
    }

    /// `None` if the thread has to wait.
    pub(crate) fn happen(&self, world: &mut World, event: Event) -> Option<()> {
        match event {
            Event::Step(thread) => self.step(world, thread)?,
            Event::Kill(process) | Event::Exit(process) => self.end(world, process),
            Event::Start(process, pid) => world.start(process, pid),
            Event::Fork(parent, child, pid) => self.fork(world, parent, child, pid),
            Event::Stranger(pid) => world.set_life(pid, Life::Stranger),
            Event::StrangerEnds(pid) => {
                let life = if self.zombies { Life::Zombie } else { Life::Free };
                world.set_life(pid, life);
            }
            Event::Reap(pid) => world.set_life(pid, Life::Free),
            Event::PidOnlyOwnerUnlinks(pid) => {
                world.unlink(LOCK_FILE);
                world.set_life(pid, Life::Free);
            }
            Event::Rm => world.unlink(LOCK_FILE),
        }
        Some(())
    }
}
