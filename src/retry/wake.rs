//! What news of a lock does to a run: when it listens, to what, and how soon it tries.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::retry::progress::Sleep;
use crate::retry::watch::{Listen, News, Renewed};
use crate::retry::{Jitter, RetryPolicy, Watch};

/// A first sleep of this length or less goes without a watch: what is over that soon must not pay.
const SHORT_SLEEP: Duration = Duration::from_millis(10);

/// How long an owner that has closed its file is given to end before the lock is tried; most need a few
/// hundred microseconds. After an attempt in vain it is eight times as long, and so on for so many attempts, the
/// last after 512 ms: of a kernel lock that outlives the close there is no other news.
const OWNER_GRACE: Duration = Duration::from_millis(1);
const GRACE_ATTEMPTS: u32 = 4;

/// How far apart, on average, the attempts of those that wait for one lock are to be.
const APART: Duration = Duration::from_micros(200);

/// As many rivals as a run makes room for.
const MAX_ROOM_FOR_RIVALS: u32 = 32;
/// And if it is not rivals that are behind the news, but a file that changes all the time. In this way it
/// brings about some 80 attempts a second.
const MAX_ROOM: u32 = 128;

/// One time in so many a run makes no room. There may be but one rival, who locks again so soon after each release
/// that whoever is a moment late never gets the lock.
const AT_ONCE: u32 = 4;

/// After so long without news, others are believed to have gone.
const FORGETS_AFTER: Duration = Duration::from_secs(1);

/// Listens for news of a lock, which `source` makes.
pub(super) struct Wake<S> {
    source: S,
    enabled: bool,
    watch: Option<Watch>,
    phase: Phase,
    /// How much room this run makes for rivals, in units of `APART`: about as many as seem to wait, since in a crowd
    /// of so many one loses the lock about so often. More if news was false again and again.
    room: u32,
    /// How old the run was when it last heard news.
    last_news: Duration,
    random: Option<SmallRng>,
}

/// What a run does in its sleep.
#[derive(Clone, Copy)]
enum Phase {
    /// It waits for news.
    Listening,
    /// There was news, and it lets others try before it.
    MakingRoom { owner_ended: bool },
    /// The file was closed, and that is all. So ends a killed owner: its kernel lock is free a moment later, and
    /// its pid dead later still. An attempt now would fail, and only take the processor from a process that
    /// is dying on it.
    OwnerEnding {
        /// Made since.
        attempts: u32,
    },
}

/// A part of a sleep.
pub(super) struct Nap {
    /// `None` to the end of the sleep.
    length: Option<Duration>,
    pub(super) listen: Listen,
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
        Wake {
            source,
            enabled,
            watch: None,
            phase: Phase::Listening,
            room: 0,
            last_news: Duration::ZERO,
            random: None,
        }
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
        let (length, listen) = match self.phase {
            Phase::Listening => (None, Listen::All),
            Phase::MakingRoom { .. } => (Some(self.room()), Listen::Nothing),
            Phase::OwnerEnding { attempts: 0 } => {
                (Some(OWNER_GRACE + self.room()), Listen::EndOfOwner)
            }
            Phase::OwnerEnding { attempts } => {
                (Some(OWNER_GRACE * 8_u32.pow(attempts)), Listen::All)
            }
        };
        Nap { length, listen }
    }

    /// A nap is over now that the run is `elapsed` old, and `woken` if news has ended it. Whether to sleep
    /// on; if not, the lock is tried.
    pub(super) fn sleeps_on(&mut self, woken: bool, elapsed: Duration) -> bool {
        if woken {
            let news = self.watch.as_ref().map_or(News::Other, Watch::news);
            if news == News::None {
                return true;
            }
            if elapsed.saturating_sub(self.last_news) > FORGETS_AFTER {
                self.room = 0;
            }
            self.last_news = elapsed;
            if news == News::Closed {
                self.phase = Phase::OwnerEnding { attempts: 0 };
                return true;
            }
            self.phase = Phase::MakingRoom { owner_ended: news == News::Ended };
            if self.room > 0 {
                return true;
            }
        }
        self.phase = match self.phase {
            // The sleep itself is over, without news since the last attempt.
            Phase::Listening => return false,
            // Another one's look at the file can hide its end from this attempt, and leaves no news.
            Phase::MakingRoom { owner_ended: true } => Phase::OwnerEnding { attempts: 1 },
            Phase::OwnerEnding { attempts } if attempts + 1 < GRACE_ATTEMPTS => {
                Phase::OwnerEnding { attempts: attempts + 1 }
            }
            Phase::MakingRoom { owner_ended: false } | Phase::OwnerEnding { .. } => {
                Phase::Listening
            }
        };
        self.renew_watch();
        false
    }

    /// Puts the watch on what has the lock by now, before the lock is tried: what happens after that is news.
    fn renew_watch(&mut self) {
        let Some(watch) = self.watch.take() else { return };
        let Renewed { watch, is_the_same } = watch.renew(&self.source);
        self.watch = watch;
        self.room = if is_the_same {
            (2 * self.room + 1).min(MAX_ROOM)
        } else if self.room > MAX_ROOM_FOR_RIVALS {
            // Of the unrest that was there before, a new file knows nothing.
            1
        } else {
            (self.room + 1).min(MAX_ROOM_FOR_RIVALS)
        };
    }

    fn room(&mut self) -> Duration {
        if self.room == 0 {
            return Duration::ZERO;
        }
        let random = self.random.get_or_insert_with(SmallRng::from_entropy);
        if self.room <= MAX_ROOM_FOR_RIVALS && random.gen_ratio(1, AT_ONCE) {
            return Duration::ZERO;
        }
        Jitter::Full.spread(APART * self.room, random)
    }
}
