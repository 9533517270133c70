//! The properties that must hold, and the run that checks them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::rules::Event;
use crate::setup::{Rm, Rules, Start};
use crate::step::Next;
use crate::tell::tell;
use crate::world::{DATA, Life, PIDS, PROCESSES, ProcessId, Sins, World};

pub(crate) const EXCLUSION: &str = "there is never more than one owner";
pub(crate) const RELEASE: &str = "a release touches only its own file";
pub(crate) const STALE_REMOVAL: &str =
    "a stale removal or a write hits no live owner and no live candidate";
pub(crate) const TRUE_BUSY: &str = "Busy is returned only for a lock that somebody has";
pub(crate) const LEFTOVERS: &str = "a leftover of ours with a stamp is never Busy";
pub(crate) const DATA_STAYS: &str = "nobody's data is removed or written";
pub(crate) const NAMED_LOCKS: &str = "no kernel lock on a named file outlives its use";
pub(crate) const RECOVERY: &str = "once all holders are dead a fresh process acquires";
pub(crate) const ACQUISITION: &str = "somebody acquires";

/// The rules of a run, with the properties that it checks.
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
        self.rules.starts.iter().map(|&start| self.rules.start(start)).collect()
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        self.rules.events(world, events);
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut world = world.clone();
        self.rules.happen(&mut world, event)?;
        world.tidy();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Game>> {
        let all: [Property<Game>; 9] = [
            Property::always(EXCLUSION, |game: &Game, world: &World| game.rules.owners(world) <= 1),
            Property::always(RELEASE, |_, world: &World| !world.sins.release_touched_anothers_file),
            Property::always(STALE_REMOVAL, |_, world: &World| {
                !world.sins.takeover_hit_a_file_in_use
            }),
            Property::always(TRUE_BUSY, |_, world: &World| !world.sins.busy_without_a_holder),
            Property::always(LEFTOVERS, |_, world: &World| !world.sins.leftover_was_busy),
            Property::always(DATA_STAYS, |_, world: &World| !world.sins.data_was_touched),
            Property::always(NAMED_LOCKS, |_, world: &World| world.every_named_lock_has_a_user()),
            Property::always(RECOVERY, Game::recovers),
            Property::sometimes(ACQUISITION, |game: &Game, world: &World| {
                game.rules.owners(world) > 0
            }),
        ];
        let is_wanted = |property: &Property<Game>| match self.only {
            Some(only) => property.name == only,
            // After an outsider's rm nothing can prevent two owners. And if a removed file keeps its link
            // count, an attempt's kernel lock on it is taken for a lock on the path. Separate tests show both.
            None => match property.name {
                EXCLUSION => self.rules.rm == Rm::Never,
                TRUE_BUSY => {
                    self.rules.file_system.counts_to_zero()
                        && !self.rules.starts.contains(&Start::Planted)
                }
                _ => true,
            },
        };
        all.into_iter().filter(is_wanted).collect()
    }
}

impl Rules {
    /// The world after every process has died, with unreaped zombies.
    fn aftermath(&self, world: &World, are_reaped: bool) -> World {
        let mut world = world.clone();
        for process in 0..PROCESSES {
            if world.processes[process].is_some() {
                self.end(&mut world, process);
            }
        }
        for pid in 1..=self.pids {
            // If the kernel lock alone decides, or a stamp, even a living stranger must not be in the way.
            let stays = match world.life(pid) {
                Life::Zombie => !are_reaped,
                Life::Stranger => {
                    self.kernel_lock_only || world.at_path().is_some_and(|file| file.is_ours)
                }
                _ => false,
            };
            if !stays {
                world.set_life(pid, Life::Free);
            }
        }
        world.sins = Sins::default();
        world.tidy();
        world
    }

    /// Each process, and each pid that a new process could get, including one that was never used.
    fn a_fresh_process_acquires(&self, aftermath: &World) -> bool {
        let free = |pid: &u8| aftermath.life(*pid) == Life::Free;
        let all = (0..self.ours).all(|process| {
            let mut pids = (1..=self.pids + 1).filter(free);
            pids.all(|pid| self.acquires(aftermath, process, pid))
        });
        all || aftermath.record_at_path() == Some(DATA) || aftermath.has_a_second_name()
    }

    fn acquires(&self, aftermath: &World, process: ProcessId, pid: u8) -> bool {
        let mut world = aftermath.clone();
        world.start(process, pid);
        let thread = process * self.threads;
        let acquired = (0..100).any(|_| {
            let went_on = self.step(&mut world, thread).is_some();
            world.tidy();
            went_on && world.threads[thread].next == Next::Own
        });
        acquired && world.record_at_path() == Some(pid)
    }

    fn checker(self, only: Option<&'static str>, threads: usize) -> impl Checker<Game> {
        let game = Game { rules: self, only, recoveries: Mutex::default() };
        let until = match only {
            Some(only) => HasDiscoveries::AllOf(BTreeSet::from([only])),
            None => HasDiscoveries::AnyFailures,
        };
        game.checker().threads(threads).finish_when(until).spawn_bfs().join()
    }

    /// Visits every state and returns their number; panics with the trace if a property is violated.
    pub(crate) fn assert_clean(self) -> usize {
        let checker = self.checker(None, 2);
        let found = checker.discoveries();
        for (name, path) in &found {
            assert!(
                *name == ACQUISITION,
                "violated: {name}\n{}",
                tell(&checker.model().rules, path)
            );
        }
        assert!(found.contains_key(ACQUISITION), "a run in which nobody acquires shows nothing");
        checker.unique_state_count()
    }

    /// Finds one of the shortest ways to break `property`, prints it and returns its events.
    pub(crate) fn assert_breaks(self, property: &'static str) -> Vec<Event> {
        let checker = self.checker(Some(property), 1);
        let found = checker.discoveries();
        let path = found.get(property).expect("the model finds the violation");
        println!("violated: {property}\n{}", tell(&checker.model().rules, path));
        path.clone().into_actions()
    }
}
