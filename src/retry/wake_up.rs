//! The sleep between two attempts, and how an event ends it: read `sleep` from top to bottom.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::retry::inotify;
use crate::retry::policy::Jitter;
use crate::retry::schedule::Cause;
use crate::retry::sleep::Sleeper;
use crate::retry::watch::{Event, Watch};

/// So short a delay goes without a watch, which would cost more than it saves.
const UNWATCHED: Duration = Duration::from_millis(10);

/// How long an owner that has closed its file is given to end before the lock is tried; most need a few
/// hundred microseconds.
const OWNER_GRACE: Duration = Duration::from_millis(1);

/// When the lock is tried again after that attempt was in vain, and eight times as late each time after that: if a
/// kernel lock outlives the close of the file, or the end of its owner was hidden by another process's look
/// at the file, no event tells when it is free.
const FIRST_RECHECK: Duration = Duration::from_millis(8);
const LAST_RECHECK: Duration = Duration::from_millis(512);

/// How far apart, on average, the attempts of those that wait for one lock are to be.
const APART: Duration = Duration::from_micros(200);
/// With more rivals than this, their attempts come closer. A file that changes all the time counts as so many, too,
/// and brings about a hundred attempts a second.
const MOST_RIVALS: u32 = 128;
/// One wake-up in so many is answered at once. There may be but one rival, and it may lock again so soon after each
/// release that a waiter that is always a moment late never gets the lock.
const AT_ONCE: u32 = 4;
/// After so long without an event, rivals are believed to have gone.
const FORGETS_AFTER: Duration = Duration::from_secs(1);

/// Listens to a lock, which `source` watches.
pub(super) struct WakeUp<W> {
    source: Option<W>,
    watch: Option<Watch>,
    /// How many rivals this run reckons with: after each wake-up in vain, twice as many as before.
    rivals: u32,
    /// How old the run was at the last event.
    last_event: Duration,
    recheck: Option<Duration>,
    random: Option<SmallRng>,
}

impl<W: Fn() -> Option<Watch>> WakeUp<W> {
    pub(super) fn new(source: Option<W>) -> WakeUp<W> {
        WakeUp {
            source,
            watch: None,
            rivals: 0,
            last_event: Duration::ZERO,
            recheck: None,
            random: None,
        }
    }

    /// Puts a watch up if there is none and `delay` is worth it. If so, the lock must be tried once more: what
    /// happened before raised no event.
    pub(super) fn puts_up_watch(&mut self, delay: Duration) -> bool {
        if delay > UNWATCHED && self.watch.is_none() {
            self.watch = self.source.as_ref().and_then(|source| source());
            return self.watch.is_some();
        }
        false
    }

    /// Sleeps until the run is `end` old, or until an event is a reason to try the lock.
    pub(super) async fn sleep<S: Sleeper>(&mut self, end: Duration, sleeper: &mut S) -> Cause {
        if self.watch.is_none() {
            sleeper.sleep(end, &[]).await;
            if !sleeper.is_cancelled() {
                self.puts_up_watch(Duration::MAX);
            }
            return Cause::Schedule;
        }

        // 1. Wait for an event, for the next recheck or for the end.
        let now = sleeper.elapsed();
        let until = self.recheck.map_or(end, |delay| now.saturating_add(delay).min(end));
        let event = loop {
            let Some(Watch(watch)) = &self.watch else { return Cause::Schedule };
            let descriptors = watch.descriptors();
            let is_spent = descriptors.iter().all(Option::is_none);
            if !is_spent && !sleeper.sleep(until, &descriptors).await {
                break None;
            }
            if let Some(event) = watch.event() {
                break Some(event);
            }
        };
        if sleeper.is_cancelled() || event.is_none() && until == end {
            return Cause::Schedule;
        }
        match event {
            None => {
                self.recheck = self.recheck.map(|delay| delay * 8).filter(|&it| it <= LAST_RECHECK);
            }
            Some(event) => {
                self.recheck = (event != Event::Other).then_some(FIRST_RECHECK);
                // 2. A file that was closed and not removed: so ends a killed owner. Its kernel lock is free a
                //    moment later, and its pid dead later still. An attempt now would fail, and only take
                //    the processor from a process that is dying on it.
                if event == Event::Closed {
                    let until = sleeper.elapsed().saturating_add(OWNER_GRACE).min(end);
                    let owner = self.watch.as_ref().and_then(|Watch(watch)| watch.owner());
                    sleeper.sleep(until, &[owner]).await;
                }
                // 3. Let rivals try first, who all woke at the same moment.
                let delay = self.delay_for_rivals(sleeper.elapsed());
                // Rounded up to a tick, it would end after those of all that need not round.
                if delay > S::TICK {
                    let until = sleeper.elapsed().saturating_add(delay).min(end);
                    sleeper.sleep(until, &[]).await;
                }
            }
        }
        // 4. Put the watch on what has the lock by now, before the lock is tried: what happens after that is
        //    an event.
        self.watch = match (self.watch.take(), &self.source) {
            (Some(Watch(watch)), Some(source)) => watch.renew(source),
            _ => None,
        };
        self.rivals = (2 * self.rivals + 1).min(MOST_RIVALS);
        if sleeper.elapsed() < end { Cause::Event } else { Cause::Schedule }
    }

    fn delay_for_rivals(&mut self, elapsed: Duration) -> Duration {
        if elapsed.saturating_sub(self.last_event) > FORGETS_AFTER {
            self.rivals = 0;
        }
        self.last_event = elapsed;
        let random = self.random.get_or_insert_with(SmallRng::from_entropy);
        let at_once = self.rivals == 0 || random.gen_ratio(1, AT_ONCE);
        if at_once { Duration::ZERO } else { Jitter::Full.spread(APART * self.rivals, random) }
    }

    /// Does without events from now on.
    pub(super) fn give_up_watch(&mut self) {
        (self.source, self.watch) = (None, None);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        inotify::give_back();
    }
}

/// Sleeps until the run is `end` old, or until its `place` has something to say. That is meant for this run alone: no
/// rival woke with it, so the lock is tried at once.
pub(super) async fn sleep_in_line<S: Sleeper>(
    place: BorrowedFd<'_>,
    end: Duration,
    sleeper: &mut S,
) -> Cause {
    let is_event = sleeper.sleep(end, &[Some(place)]).await;
    if is_event { Cause::Event } else { Cause::Schedule }
}
