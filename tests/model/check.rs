//! What can happen, what must hold, and how a run is told.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Mutex;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::world::{IDLE, LOCK_FILE, Life, PIDS, PROCESSES, Pid, ProcessId, World};
use crate::{Next, ours, seed};

pub(crate) const EXCLUSION: &str = "nobody owns the lock together with another";
pub(crate) const RELEASE: &str = "a release removes only its own file";
pub(crate) const STALE_REMOVAL: &str = "a stale removal hits no live owner and no live candidate";
pub(crate) const TRUE_BUSY: &str = "Busy is said only of a lock that somebody has";
pub(crate) const NAMED_LOCKS: &str = "no kernel lock on a named file outlives its use";
pub(crate) const RECOVERY: &str = "once all holders are dead a fresh process acquires";
pub(crate) const ACQUISITION: &str = "somebody acquires";

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

    fn is_seed(&self, process: ProcessId) -> bool {
        (self.ours..self.ours + self.seeds).contains(&process)
    }

    /// A fork copies one thread only, and the seed has one.
    fn threads_of(&self, process: ProcessId) -> std::ops::Range<usize> {
        let first = process * self.threads;
        first..first + if process < self.ours { self.threads } else { 1 }
    }

    fn children(&self) -> std::ops::Range<ProcessId> {
        let first = self.ours + self.seeds;
        first..first + self.children
    }

    fn step(&self, world: &mut World, thread: usize) -> Option<()> {
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

    fn may_fork(&self, world: &World, threads: std::ops::Range<usize>) -> bool {
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

    fn end(&self, world: &mut World, process: ProcessId) {
        let life = if self.zombies { Life::Zombie } else { Life::Free };
        world.end(process, self.threads_of(process), life);
    }

    fn owners(&self, world: &World) -> usize {
        let owns = |thread: &&crate::world::Thread| match (thread.next, thread.file) {
            (Next::Own | Next::SeedOwn, _) => true,
            (Next::AwaitChild, Some(file)) => world.record(file) == thread.pid,
            _ => false,
        };
        let pid_only = (1..=self.pids).filter(|&pid| world.life(pid) == Life::PidOnlyOwner);
        world.threads.iter().filter(owns).count() + pid_only.count()
    }

    /// The world after every process has died, with the zombies that nobody reaps.
    fn aftermath(&self, world: &World, are_reaped: bool) -> World {
        let mut world = world.clone();
        for process in 0..PROCESSES {
            if world.processes[process].is_some() {
                self.end(&mut world, process);
            }
        }
        for pid in 1..=self.pids {
            // Where the kernel lock alone decides, no living stranger may be in the way.
            let stays = match world.life(pid) {
                Life::Zombie => !are_reaped,
                Life::Stranger => self.kernel_lock_only,
                _ => false,
            };
            if !stays {
                world.set_life(pid, Life::Free);
            }
        }
        world.sins = crate::world::Sins::default();
        world.tidy();
        world
    }

    /// Each pid that a fresh process could get, one that was never seen before among them.
    fn a_fresh_process_acquires(&self, aftermath: &World) -> bool {
        (1..=self.pids + 1).filter(|&pid| aftermath.life(pid) == Life::Free).all(|pid| {
            let mut world = aftermath.clone();
            world.start(0, pid);
            let acquired = (0..100).any(|_| {
                let went_on = self.step(&mut world, 0).is_some();
                world.tidy();
                went_on && world.threads[0].next == Next::Own
            });
            // A leftover stands in nobody's way unless the next one comes by the way of temporaries.
            let is_clean = (1..=self.temporaries).all(|name| !world.is_there(name));
            let swept = world.record_at(LOCK_FILE) == Some(pid) && is_clean;
            acquired && (swept || self.publish == Publish::Unnamed)
        })
    }
}

/// The rules, with the properties that a run looks at.
pub(crate) struct Game {
    pub(crate) rules: Rules,
    only: Option<&'static str>,
    recoveries: Mutex<HashMap<World, bool>>,
}

impl Game {
    fn recovers(&self, world: &World) -> bool {
        let variants = if self.rules.zombies { &[true, false][..] } else { &[true] };
        variants.iter().all(|&are_reaped| {
            let aftermath = self.rules.aftermath(world, are_reaped);
            let mut recoveries = self.recoveries.lock().expect("no thread panicked");
            *recoveries
                .entry(aftermath)
                .or_insert_with_key(|aftermath| self.rules.a_fresh_process_acquires(aftermath))
        })
    }
}

impl Model for Game {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        assert!(self.rules.pids < u8::try_from(PIDS).expect("few"), "one is kept for recovery");
        let start = |start: &Start| {
            let mut world = World::empty();
            match start {
                Start::Absent => {}
                Start::Stale => world.plant(LOCK_FILE, 1),
                Start::LongStale => world.plant(LOCK_FILE, self.rules.pids + 1),
                Start::Junk => world.plant(LOCK_FILE, 0),
                Start::PidOnlyOwner => {
                    world.plant(LOCK_FILE, 1);
                    world.set_life(1, Life::PidOnlyOwner);
                }
            }
            world
        };
        self.rules.starts.iter().map(start).collect()
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        let rules = &self.rules;
        for process in 0..rules.children().end {
            rules.process_events(world, process, events);
        }
        for pid in 1..=rules.pids {
            match world.life(pid) {
                Life::Free if rules.strangers => events.push(Event::Stranger(pid)),
                Life::Stranger => events.push(Event::StrangerEnds(pid)),
                Life::PidOnlyOwner => {
                    events.extend([Event::StrangerEnds(pid), Event::PidOnlyOwnerUnlinks(pid)]);
                }
                Life::Zombie => events.push(Event::Reap(pid)),
                Life::Free | Life::Playing => {}
            }
        }
        if rules.is_removable(world) {
            events.push(Event::Rm);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut world = world.clone();
        match event {
            Event::Step(thread) => self.rules.step(&mut world, thread)?,
            Event::Kill(process) | Event::Exit(process) => self.rules.end(&mut world, process),
            Event::Start(process, pid) => world.start(process, pid),
            Event::Fork(parent, child, pid) => self.rules.fork(&mut world, parent, child, pid),
            Event::Stranger(pid) => world.set_life(pid, Life::Stranger),
            Event::StrangerEnds(pid) => {
                let life = if self.rules.zombies { Life::Zombie } else { Life::Free };
                world.set_life(pid, life);
            }
            Event::Reap(pid) => world.set_life(pid, Life::Free),
            Event::PidOnlyOwnerUnlinks(pid) => {
                world.unlink(LOCK_FILE);
                world.set_life(pid, Life::Free);
            }
            Event::Rm => world.unlink(LOCK_FILE),
        }
        world.tidy();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Game>> {
        let all: [Property<Game>; 7] = [
            Property::always(EXCLUSION, |game: &Game, world: &World| game.rules.owners(world) <= 1),
            Property::always(RELEASE, |_, world: &World| !world.sins.release_removed_anothers_file),
            Property::always(STALE_REMOVAL, |_, world: &World| {
                !world.sins.stale_removal_hit_a_file_in_use
            }),
            Property::always(TRUE_BUSY, |_, world: &World| !world.sins.busy_without_a_holder),
            Property::always(NAMED_LOCKS, |_, world: &World| world.every_named_lock_has_a_user()),
            Property::always(RECOVERY, Game::recovers),
            Property::sometimes(ACQUISITION, |game: &Game, world: &World| {
                game.rules.owners(world) > 0
            }),
        ];
        let is_wanted = |property: &Property<Game>| match self.only {
            Some(only) => property.name == only,
            // After an outsider's rm nobody can keep two from owning. And a leftover that still has its
            // temporary name is not recognised as departed: a test of its own shows that.
            None => match property.name {
                EXCLUSION => self.rules.rm == Rm::Never,
                TRUE_BUSY => self.rules.publish != Publish::LinkedTemporary,
                _ => true,
            },
        };
        all.into_iter().filter(is_wanted).collect()
    }
}

impl Rules {
    fn checker(self, only: Option<&'static str>, threads: usize) -> impl stateright::Checker<Game> {
        let game = Game { rules: self, only, recoveries: Mutex::default() };
        let until = match only {
            Some(only) => HasDiscoveries::AllOf(BTreeSet::from([only])),
            None => HasDiscoveries::AnyFailures,
        };
        game.checker().threads(threads).finish_when(until).spawn_bfs().join()
    }

    /// Visits every state and returns their number; panics with the trace of a violation.
    pub(crate) fn assert_clean(self) -> usize {
        let checker = self.checker(None, 2);
        let found = checker.discoveries();
        for (name, path) in &found {
            assert!(*name == ACQUISITION, "violated: {name}\n{}", tell(checker.model(), path));
        }
        assert!(found.contains_key(ACQUISITION), "a run in which nobody acquires shows nothing");
        checker.unique_state_count()
    }

    /// Finds one of the shortest ways to break `property`, prints it and returns its events.
    pub(crate) fn assert_breaks(self, property: &'static str) -> Vec<Event> {
        let checker = self.checker(Some(property), 1);
        let found = checker.discoveries();
        let path = found.get(property).expect("the model finds the violation");
        println!("violated: {property}\n{}", tell(checker.model(), path));
        path.clone().into_actions()
    }
}

fn tell(game: &Game, path: &stateright::Path<World, Event>) -> String {
    let mut text = String::new();
    let steps = path.clone().into_vec();
    let first = &steps[0].0;
    let _ = writeln!(text, "  0  {:62} {}", "", first.describe_lock_file());
    for (number, pair) in steps.windows(2).enumerate() {
        let (before, Some(event)) = &pair[0] else { continue };
        let what = tell_event(&game.rules, before, *event);
        let owners = match game.rules.owners(&pair[1].0) {
            0 => String::new(),
            count => format!(" ({count} own it)"),
        };
        let _ = writeln!(
            text,
            "{:3}  {what:62} {}{owners}",
            number + 1,
            pair[1].0.describe_lock_file()
        );
    }
    text
}

fn tell_event(rules: &Rules, world: &World, event: Event) -> String {
    let name = |process: ProcessId| {
        let letter = char::from(b'A' + u8::try_from(process).expect("few"));
        let seed = if rules.is_seed(process) { " (seed)" } else { "" };
        match world.processes[process] {
            Some(pid) => format!("{letter}{seed}, pid {pid}"),
            None => format!("{letter}{seed}"),
        }
    };
    match event {
        Event::Step(thread) => {
            let process = rules.process_of(thread);
            let label = match world.threads[thread].next {
                Next::Begin if rules.is_seed(process) => {
                    "seed: create a temporary with the own pid"
                }
                next => next.label(),
            };
            let which = match thread - process * rules.threads {
                0 => String::new(),
                other => format!(", thread {}", other + 1),
            };
            format!("{}{which}: {label}", name(process))
        }
        Event::Kill(process) => format!("{} is killed", name(process)),
        Event::Exit(process) => format!("{} exits", name(process)),
        Event::Start(process, pid) => format!("{} starts as pid {pid}", name(process)),
        Event::Fork(parent, child, pid) => {
            format!("{} forks {} as pid {pid}", name(parent), name(child))
        }
        Event::Stranger(pid) => format!("a stranger gets pid {pid}"),
        Event::StrangerEnds(pid) => format!("pid {pid} ends"),
        Event::Reap(pid) => format!("pid {pid} is reaped"),
        Event::PidOnlyOwnerUnlinks(pid) => format!("the pid-only owner {pid} releases and ends"),
        Event::Rm => "an outsider removes the lock file".to_owned(),
    }
}
