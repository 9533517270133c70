//! What news of a lock does to a run: when it listens, to what, and how soon it tries.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::retry::progress::Sleep;
use crate::retry::watch::{Ears, News, Renewed};
use crate::retry::{Jitter, RetryPolicy, Watch};

/// A first sleep of this length or less goes without a watch: what is over that soon must not pay.
const SHORT_SLEEP: Duration = Duration::from_millis(10);

/// How long an owner that has closed its file is given to end; most need a few hundred microseconds. If
/// that was not enough, eight times as long, and so on.
const LAST_BREATH: Duration = Duration::from_millis(1);
const LAST_BREATHS: u32 = 4;

/// How far apart, on average, the attempts of those that wait for one lock are to be.
const APART: Duration = Duration::from_micros(200);

/// As many rivals as a run makes room for.
const MAX_RIVALS: u32 = 32;
/// And if it is not rivals that are behind the news, but a file that changes all the time: in this way
/// it brings about some 80 attempts a second.
const MAX_UNREST: u32 = 128;

/// Listens for news of a lock, which `source` makes.
pub(super) struct Wake<S> {
    source: S,
    enabled: bool,
    watch: Option<Watch>,
    mood: Mood,
    /// How many others seem to wait for the lock: in a crowd of so many one loses it about so often. Before a
    /// run that has lost it tries again it waits for a random time, the longer the more there are.
    rivals: u32,
    random: Option<SmallRng>,
}

/// What the last news calls for.
#[derive(Clone, Copy)]
enum Mood {
    /// Nothing: the sleep goes on until there is news.
    Calm,
    /// To make room for rivals before an attempt.
    Scattered,
    /// The file was closed, and that is all. So ends a killed owner: its kernel lock is free a moment later, and
    /// its pid dead later still. An attempt now would fail, and only take the processor from a process that
    /// is dying on it. So many attempts were made since.
    Closed(u32),
}

/// A part of a sleep.
pub(super) struct Nap {
    /// `None` to the end of the sleep.
    length: Option<Duration>,
    pub(super) ears: Ears,
}

impl Nap {
    /// How old the run is at its end, as that is counted in [`Sleep::end`].
    pub(super) fn end(&self, elapsed: Duration, end_of_sleep: Duration) -> Duration {
        match self.length {
            Some(length) => elapsed.saturating_add(length).min(end_of_sleep),
            None => end_of_sleep,
        }
    }
}

impl<S: Fn() -> Option<Watch>> Wake<S> {
    pub(super) fn new(policy: &RetryPolicy, source: S) -> Wake<S> {
        let enabled = policy.wake_on_release;
        Wake { source, enabled, watch: None, mood: Mood::Calm, rivals: 0, random: None }
    }

    /// Begins to listen before `sleep`, if that is worth it. If so, the lock must be tried once more:
    /// there is no news of what happened before.
    pub(super) fn listen_from_now(&mut self, sleep: Sleep) -> bool {
        let is_short = sleep.number == 1 && sleep.delay <= SHORT_SLEEP;
        if !self.enabled || self.watch.is_some() || is_short {
            return false;
        }
        self.watch = (self.source)();
        self.watch.is_some()
    }

    pub(super) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// How to sleep next.
    pub(super) fn nap(&mut self) -> Nap {
        let (length, ears) = match self.mood {
            Mood::Calm => (None, Ears::All),
            Mood::Scattered => (Some(self.room_for_rivals()), Ears::EndOfOwner),
            Mood::Closed(0) => (Some(LAST_BREATH + self.room_for_rivals()), Ears::EndOfOwner),
            Mood::Closed(times) => (Some(LAST_BREATH * 8_u32.pow(times)), Ears::All),
        };
        Nap { length, ears }
    }

    /// A nap is over, and `woken` if news has ended it. Whether to sleep on; if not, the lock is tried.
    pub(super) fn sleeps_on(&mut self, woken: bool) -> bool {
        match self.mood {
            Mood::Calm | Mood::Closed(1..) if woken => match self.watch.as_ref().map(Watch::news) {
                Some(News::None) => return true,
                Some(News::Closed) => {
                    self.mood = Mood::Closed(0);
                    return true;
                }
                _ if self.rivals > 0 => {
                    self.mood = Mood::Scattered;
                    return true;
                }
                _ => {
                    self.mood = Mood::Calm;
                    self.renew_watch();
                }
            },
            // The sleep itself is over, and nobody was heard in it.
            Mood::Calm => self.rivals /= 2,
            Mood::Scattered => {
                self.mood = Mood::Calm;
                self.renew_watch();
            }
            Mood::Closed(times) => {
                let is_last = woken || times + 1 == LAST_BREATHS;
                self.mood = if is_last { Mood::Calm } else { Mood::Closed(times + 1) };
                self.renew_watch();
            }
        }
        false
    }

    /// Puts the watch on what has the lock by now, before the lock is tried: what happens after that is news.
    fn renew_watch(&mut self) {
        let Some(watch) = self.watch.take() else { return };
        let Renewed { watch, is_the_same } = watch.renew(&self.source);
        self.watch = watch;
        self.rivals = if is_the_same {
            (2 * self.rivals + 1).min(MAX_UNREST)
        } else {
            (self.rivals + 1).min(MAX_RIVALS).max(self.rivals)
        };
    }

    fn room_for_rivals(&mut self) -> Duration {
        let random = self.random.get_or_insert_with(SmallRng::from_entropy);
        Jitter::Full.spread(APART * self.rivals, random)
    }
}
