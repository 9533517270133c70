//! What may happen between any two steps.

use std::ops::Range;

use crate::setup::{Fork, Mutant, Rm, Rules, Start};
use crate::step::Next;
use crate::world::{BLANK, DATA, FileSystem, IDLE, Life, Pid, ProcessId, World};
use crate::{ours, script, seed};

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
    /// Through one of the mounts.
    Rm(usize),
    CacheExpires(usize),
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

    pub(crate) fn is_script(&self, process: ProcessId) -> bool {
        let first = self.ours + self.seeds;
        (first..first + self.scripts).contains(&process)
    }

    fn is_foreign(&self, process: ProcessId) -> bool {
        self.is_seed(process) || self.is_script(process)
    }

    /// A fork copies only one thread, and the seed has one thread.
    fn threads_of(&self, process: ProcessId) -> Range<usize> {
        let first = process * self.threads;
        first..first + if process < self.ours { self.threads } else { 1 }
    }

    fn children(&self) -> Range<ProcessId> {
        let first = self.ours + self.seeds + self.scripts;
        first..first + self.children
    }

    pub(crate) fn step(&self, world: &mut World, thread: usize) -> Option<()> {
        let process = self.process_of(thread);
        if self.is_seed(process) {
            seed::step(self, world, thread)
        } else if self.is_script(process) {
            script::step(self, world, thread)
        } else {
            ours::step(self, world, thread)
        }
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
            child.filter(|_| !self.is_foreign(process) && self.may_fork(world, threads))
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
        // On a local file system the last look at the path is the whole check.
        let is_between = |next| match next {
            Next::UnlinkStale | Next::UnlinkOwn => true,
            Next::ProveDirectory | Next::ProvePath => self.file_system != FileSystem::Local,
            _ => false,
        };
        world.at_path().is_some()
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

    pub(crate) fn start(&self, start: Start) -> World {
        let mut world = World::empty(self.file_system, self.sticky);
        match start {
            Start::Absent => {}
            Start::Stale => world.plant(1),
            Start::LongStale => world.plant(self.pids + 1),
            Start::Blank => world.plant(BLANK),
            Start::Data => world.plant(DATA),
            Start::Planted => world.plant_with_a_second_name(self.pids + 1),
            Start::PidOnlyOwner => {
                world.plant(1);
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
        let mounts = 0..self.file_system.mounts();
        if self.is_removable(world) {
            events.extend(mounts.clone().map(Event::Rm));
        }
        events.extend(mounts.filter(|&mount| world.is_cached(mount)).map(Event::CacheExpires));
    }

    /// `None` if the thread must wait.
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
                world.remove_name(0);
                world.set_life(pid, Life::Free);
            }
            Event::Rm(mount) => world.remove_name(mount),
            Event::CacheExpires(mount) => world.forget(mount),
        }
        self.keep_the_promise(world);
        Some(())
    }
}
