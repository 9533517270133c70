//! The sleep between two attempts, and how an event ends it. Read `sleep` from top to bottom.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::retry::inotify;
use crate::retry::policy::Jitter;
use crate::retry::schedule::Cause;
use crate::retry::sleep::Sleeper;
use crate::retry::watch::{Event, Watch};

/// A delay up to this long has no watch, because a watch would cost more than it saves.
const UNWATCHED: Duration = Duration::from_millis(10);

/// How long to wait for the end of an owner that has closed its file; most need a few hundred microseconds.
const DELAY_FOR_OWNER: Duration = Duration::from_millis(1);

/// If that attempt fails, try again after this time, and each time eight times as late. No event tells that the
/// lock is free if a kernel lock outlives the close of its file, or if another process's look at the file hid
/// the end of the owner.
const FIRST_RECHECK: Duration = Duration::from_millis(8);
const LAST_RECHECK: Duration = Duration::from_millis(512);

/// The mean time between the attempts of all that wait for one lock.
const APART: Duration = Duration::from_micros(200);
/// With more rivals than this, their attempts are closer together. A file that changes all the time counts as
/// this many rivals, and causes about a hundred attempts a second.
const MOST_RIVALS: u32 = 128;
/// Retry at once on one wake-up in four. Otherwise a single rival that re-locks right after each release could
/// starve a waiter that is always a moment late.
const AT_ONCE: u32 = 4;
/// How often a place is looked at whose descriptor can't be listened to, or asked whose answer is to come.
pub(super) const RECHECK: Duration = Duration::from_millis(100);

/// After this long without an event, assume that there are no rivals any more.
const FORGETS_AFTER: Duration = Duration::from_secs(1);

/// Waits for events of a lock, which `source` watches.
pub(super) struct WakeUp<W> {
    source: Option<W>,
    watch: Option<Watch>,
    /// How many rivals this run assumes: twice as many after each wake-up for nothing.
    rivals: u32,
    /// The age of the run at the last event.
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

    /// Puts up a watch if there is none and `delay` is long enough. If it does, the lock must be tried once
    /// more: earlier changes raised no event.
    pub(super) fn puts_up_watch(&mut self, delay: Duration) -> bool {
        if delay > UNWATCHED && self.watch.is_none() {
            self.watch = self.source.as_ref().and_then(|source| source());
            return self.watch.is_some();
        }
        false
    }

    /// Sleeps until the age of the run is `end`, or until an event is a reason to try the lock.
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
                // 2. A killed owner's file is closed and not removed. Its kernel lock is free a moment later,
                //    and its pid ends later still. An attempt now would fail, and take the processor from the
                //    dying process.
                if event == Event::Closed {
                    let until = sleeper.elapsed().saturating_add(DELAY_FOR_OWNER).min(end);
                    let owner = self.watch.as_ref().and_then(|Watch(watch)| watch.owner());
                    sleeper.sleep(until, &[owner]).await;
                }
                // 3. Let some rivals try first: all of them woke at the same moment.
                let delay = self.delay_for_rivals(sleeper.elapsed());
                // Rounded up to a tick, a shorter delay would end after the delays of all rivals that need not
                // round.
                if delay > S::TICK {
                    let until = sleeper.elapsed().saturating_add(delay).min(end);
                    sleeper.sleep(until, &[]).await;
                }
            }
        }
        // 4. Put the watch on the file that is there now, before the lock is tried: later changes raise an
        //    event.
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

    /// Uses no events from now on.
    pub(super) fn give_up_watch(&mut self) {
        (self.source, self.watch) = (None, None);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        inotify::give_back();
    }
}

/// Sleeps until the age of the run is `end`, or until its `place` can go on. That event is meant for this run
/// alone: no rival woke with it, so the lock is tried at once.
pub(super) async fn sleep_in_line<S: Sleeper>(
    place: BorrowedFd<'_>,
    end: Duration,
    sleeper: &mut S,
) -> Cause {
    loop {
        // The delay may be long, since the place is told of its turn: a run that can't listen must look.
        let now = sleeper.elapsed();
        let until = if sleeper.is_deaf() { now.saturating_add(RECHECK).min(end) } else { end };
        if sleeper.sleep(until, &[Some(place)]).await || sleeper.is_deaf() && is_readable(place) {
            return Cause::Event;
        }
        if sleeper.is_cancelled() || sleeper.elapsed() >= end {
            return Cause::Schedule;
        }
    }
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut looked_at = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    poll(&mut looked_at, Some(&Timespec::default())).is_ok_and(|readable| readable > 0)
}
