//! How a peer waits for the lock.

use std::time::Duration;

use pidlockfile::retry::{Attempt, CancelToken, RetryPolicy, acquire_with_retry};

use crate::support::commands::Action::Does;
use crate::support::commands::{Command, State, answer};
#[cfg(feature = "tokio")]
use crate::support::waiting::long_wait_async;
use crate::support::waiting::{long_wait, sleep_undisturbed};

pub const COMMANDS: &[Command] = &[
    ("acquire_with_retry", Does(|peer, _| acquire(peer))),
    ("wait", Does(|peer, _| peer.guard = Some(long_wait(&peer.lockfile, |_| ())))),
    #[cfg(feature = "tokio")]
    ("wait_async", Does(|peer, _| peer.guard = Some(long_wait_async(&peer.lockfile, |_| ())))),
    ("wait_aloud", Does(|peer, _| peer.guard = Some(long_wait(&peer.lockfile, say_once)))),
    ("wait_by_default", Does(|peer, _| wait_by(peer, &RetryPolicy::default()))),
    ("wait_by_schedule", Does(|peer, _| wait_by(peer, &without_wake_ups()))),
    ("wait_20_ms", Does(|_, _| wait_20_ms())),
];

fn acquire(peer: &mut State) {
    peer.guard = Some(acquire_with_retry(&peer.lockfile, &RetryPolicy::default()).unwrap());
}

fn say_once(attempt: &Attempt<'_>) {
    if attempt.number == 1 {
        answer("waiting");
    }
}

fn without_wake_ups() -> RetryPolicy {
    RetryPolicy::builder().wake_on_release(false).build().unwrap()
}

fn wait_by(peer: &mut State, policy: &RetryPolicy) {
    let guard = policy.run().on_wait(|_| answer("waiting")).acquire(&peer.lockfile);
    peer.guard = Some(guard.unwrap());
}

fn wait_20_ms() {
    sleep_undisturbed(&CancelToken::new().unwrap(), Duration::from_millis(20));
}
