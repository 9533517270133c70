//! The ways to wait for a lock that `handoff` compares.

use std::path::Path;
use std::thread;
use std::time::Duration;

use pidlockfile::retry::{Jitter, RetryPolicy, acquire_with_retry};
use pidlockfile::{LockGuard, Lockfile};

use crate::relay::{Relay, Turn};

#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Wake,
    WakeOfDaemon,
    Schedule,
    /// The system calls of a file that is handed over by inotify(7), and nothing around them.
    BareWake,
    /// Sleeps as long as the schedule says, and does nothing else: it never has a lock.
    BareSleeps,
    BareSleepsOfDaemon,
    Flock,
    Poll,
}

impl Way {
    pub const ALL: [Way; 8] = [
        Way::Wake,
        Way::WakeOfDaemon,
        Way::Schedule,
        Way::BareWake,
        Way::BareSleeps,
        Way::BareSleepsOfDaemon,
        Way::Flock,
        Way::Poll,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Way::Wake => "pidlockfile, wake on",
            Way::WakeOfDaemon => "pidlockfile, daemon()",
            Way::Schedule => "pidlockfile, wake off",
            Way::BareWake => "wake on, bare",
            Way::BareSleeps => "sleeps of default(), bare",
            Way::BareSleepsOfDaemon => "sleeps of daemon(), bare",
            Way::Flock => "fslock (blocking flock)",
            Way::Poll => "a poll every 10 ms",
        }
    }

    /// Whether there is a lock that it can take.
    pub fn locks(self) -> bool {
        self != Way::BareSleeps && self != Way::BareSleepsOfDaemon
    }

    /// Whether it takes the lock of an owner that was killed.
    pub fn takes_over(self) -> bool {
        self.locks() && self != Way::BareWake
    }

    /// Whether it does anything while it waits.
    pub fn works_while_waiting(self) -> bool {
        self != Way::BareWake
    }

    fn policy(self) -> RetryPolicy {
        let endless = RetryPolicy::builder().max_elapsed(None);
        let policy = match self {
            Way::WakeOfDaemon | Way::BareSleepsOfDaemon => return RetryPolicy::daemon(),
            Way::Poll => {
                let interval = Duration::from_millis(10);
                let steady = endless.multiplier(1.0).max_delay(interval).jitter(Jitter::None);
                steady.wake_on_release(false)
            }
            Way::Schedule => endless.wake_on_release(false),
            Way::Wake | Way::BareSleeps | Way::BareWake | Way::Flock => endless,
        };
        policy.build().unwrap()
    }

    pub fn lock(self, path: &Path) -> Held {
        match self {
            Way::BareWake => Held::Bare(Relay::at(path).lock()),
            Way::BareSleeps | Way::BareSleepsOfDaemon => {
                self.policy().delays().for_each(thread::sleep);
                unreachable!("the schedule has no end");
            }
            Way::Flock => {
                let mut file = fslock::LockFile::open(path).unwrap();
                file.lock().unwrap();
                Held::Theirs(file)
            }
            Way::Wake | Way::WakeOfDaemon | Way::Schedule | Way::Poll => {
                let lockfile = Lockfile::new(path).unwrap();
                Held::Ours(acquire_with_retry(&lockfile, &self.policy()).unwrap())
            }
        }
    }
}

pub enum Held {
    Ours(LockGuard),
    Theirs(fslock::LockFile),
    Bare(Turn),
}

impl Held {
    pub fn unlock(self) {
        match self {
            Held::Ours(guard) => guard.unlock().unwrap(),
            Held::Theirs(mut file) => file.unlock().unwrap(),
            Held::Bare(turn) => turn.release(),
        }
    }
}
