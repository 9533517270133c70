//! The ways to wait for a lock that `handoff` compares.

use std::path::Path;
use std::thread;
use std::time::Duration;

use pidlockfile::Lockfile;
use pidlockfile::retry::{Jitter, RetryPolicy, RetryPolicyBuilder, acquire_with_retry};

use crate::relay::Relay;

#[derive(Clone, Copy)]
pub struct Way {
    pub name: &'static str,
    /// Waits for the lock and takes it; what it returns releases it.
    pub lock: fn(&Path) -> Release,
    /// Whether there is a lock that it can take.
    pub locks: bool,
    /// Whether it takes the lock of an owner that was killed.
    pub takes_over: bool,
    /// Whether it does anything while it waits.
    pub works_while_waiting: bool,
}

pub type Release = Box<dyn FnOnce()>;

/// It does all of it.
const fn whole(name: &'static str, lock: fn(&Path) -> Release) -> Way {
    Way { name, lock, locks: true, takes_over: true, works_while_waiting: true }
}

/// It sleeps as long as the schedule says, and does nothing else: it never has a lock.
const fn sleeps(name: &'static str, lock: fn(&Path) -> Release) -> Way {
    Way { name, lock, locks: false, takes_over: false, works_while_waiting: true }
}

pub const WAYS: [Way; 8] = [
    whole("pidlockfile, wake on", |path| ours(path, &built(endless()))),
    whole("pidlockfile, daemon()", |path| ours(path, &RetryPolicy::daemon())),
    whole("pidlockfile, wake off", |path| ours(path, &built(endless().wake_on_release(false)))),
    // The system calls of a file that is handed over by inotify(7), and nothing around them.
    Way {
        name: "wake on, bare",
        lock: |path| {
            let turn = Relay::at(path).lock();
            Box::new(|| turn.release())
        },
        locks: true,
        takes_over: false,
        works_while_waiting: false,
    },
    sleeps("sleeps of default(), bare", |_| sleep_by(&built(endless()))),
    sleeps("sleeps of daemon(), bare", |_| sleep_by(&RetryPolicy::daemon())),
    whole("fslock (blocking flock)", |path| {
        let mut file = fslock::LockFile::open(path).unwrap();
        file.lock().unwrap();
        Box::new(move || file.unlock().unwrap())
    }),
    whole("a poll every 10 ms", |path| {
        let interval = Duration::from_millis(10);
        let steady = endless().multiplier(1.0).max_delay(interval).jitter(Jitter::None);
        ours(path, &built(steady.wake_on_release(false)))
    }),
];

fn endless() -> RetryPolicyBuilder {
    RetryPolicy::builder().max_elapsed(None)
}

fn built(policy: RetryPolicyBuilder) -> RetryPolicy {
    policy.build().unwrap()
}

fn ours(path: &Path, policy: &RetryPolicy) -> Release {
    let guard = acquire_with_retry(&Lockfile::new(path).unwrap(), policy).unwrap();
    Box::new(|| guard.unlock().unwrap())
}

fn sleep_by(policy: &RetryPolicy) -> ! {
    policy.delays().for_each(thread::sleep);
    unreachable!("the schedule has no end");
}
