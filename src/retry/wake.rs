//! What news of a lock does to a run: when it listens, and how often it lets itself be woken for nothing.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::retry::progress::Sleep;
use crate::retry::{Jitter, RetryPolicy, Watch};

/// A first sleep of this length or less goes without a watch: what is over that soon must not pay.
const SHORT_SLEEP: Duration = Duration::from_millis(10);

/// How long a run does not listen after it was woken for nothing: this, and twice as long each time that
/// there was news meanwhile.
///
/// It spreads the many that wait for one lock, and it bounds what a file that changes all the time can
/// cost.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const MAX_DOUBLINGS: u32 = 7;

/// Listens for news of a lock, which `source` makes.
pub(super) struct Wake<S> {
    source: S,
    enabled: bool,
    watch: Option<Watch>,
    unrest: Unrest,
    random: Option<SmallRng>,
}

/// What the last news was worth.
#[derive(Clone, Copy)]
enum Unrest {
    None,
    /// A failed attempt followed. So does a pause, doubled as often as this.
    Doubled(u32),
}

impl<S: Fn() -> Option<Watch>> Wake<S> {
    pub(super) fn new(policy: &RetryPolicy, source: S) -> Wake<S> {
        let enabled = policy.wake_on_release;
        Wake { source, enabled, watch: None, unrest: Unrest::None, random: None }
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

    /// How long not to listen, if the last attempt was brought about by news and failed. The watch is on
    /// what has the lock now.
    ///
    /// An attempt follows even if there is no further news, since news can come before what it tells: a
    /// file is seen to close before its kernel lock is free, and to be unlinked before its name is gone.
    /// The same attempt finds what happened before the watch was there.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let Unrest::Doubled(times) = self.unrest else {
            return None;
        };
        // The old one first, so that there is an instance to be had.
        self.watch = None;
        self.watch = (self.source)();
        let random = self.random.get_or_insert_with(SmallRng::from_entropy);
        Some(Jitter::Equal.spread(FIRST_PAUSE * 2_u32.pow(times), random))
    }

    /// The pause is over.
    pub(super) fn after_pause(&mut self) {
        self.unrest = match self.unrest {
            Unrest::Doubled(times) if self.watch.as_ref().is_some_and(Watch::is_ready) => {
                Unrest::Doubled((times + 1).min(MAX_DOUBLINGS))
            }
            _ => Unrest::None,
        };
    }

    /// There is news.
    pub(super) fn woken(&mut self) {
        self.unrest = Unrest::Doubled(0);
    }
}
