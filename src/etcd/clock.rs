//! The clock that goes on while the machine is suspended, as the server's does.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// `Instant` stands still in suspend on Linux: a guard would wake up believing in a lease that ran out.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A moment of this machine. No clock of another machine is ever read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Moment {
        let now = clock_gettime(CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Moment(seconds.saturating_mul(1_000_000_000) + u64::try_from(now.tv_nsec).unwrap_or(0))
    }

    /// For an atomic.
    pub(super) fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }

    pub(super) fn nanos(self) -> u64 {
        self.0
    }

    pub(super) fn plus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(super) fn minus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long it is until then; zero once it has come.
    pub(super) fn left(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Moment::now().0))
    }

    pub(super) fn has_come(self) -> bool {
        Moment::now() >= self
    }
}
