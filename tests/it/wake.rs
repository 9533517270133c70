//! An event of a lock ends a sleep that would last until the test has failed.

use std::fs::{self, File};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::gettid;
use pidlockfile::retry::{Attempt, CancelToken, GaveUp};
use pidlockfile::{LockGuard, Lockfile};

use crate::support::peer::Peer;
use crate::support::process::await_sleep_of;
use crate::support::sandbox::{Bystander, Sandbox, record_of};
use crate::support::waiting::{long_sleep, long_wait, quickest_end};
#[cfg(feature = "tokio")]
use crate::support::waiting::{long_wait_async, runtime};

mod apart;
mod calls;
mod costs;
mod scarce;
mod ceaseless;

const MS: Duration = Duration::from_millis(1);

type Hook<'a> = &'a mut dyn FnMut(&Attempt<'_>);
type Wait = fn(&Lockfile, Hook) -> LockGuard;

/// The sync wait and the async wait.
const WAITS: &[Wait] = &[
    |lockfile, hook| long_wait(lockfile, hook),
    #[cfg(feature = "tokio")]
    |lockfile, hook| long_wait_async(lockfile, hook),
];

/// Calls `happen` just before the sleep, and after it has begun, for both waits. Its result lives until the
/// wait is over.
fn assert_wakes<T, R>(begin: impl Fn(&Sandbox) -> T, happen: impl Fn(&Sandbox, T) -> R) {
    for wait in WAITS {
        let sandbox = Sandbox::new();
        let (mut busy, mut rest) = (Some(begin(&sandbox)), None);
        let guard = wait(&sandbox.lockfile(), &mut |_| {
            if let Some(busy) = busy.take() {
                rest = Some(happen(&sandbox, busy));
            }
        });
        drop(rest);
        guard.unlock().unwrap();
        sandbox.assert_free_and_clean();

        let busy = begin(&sandbox);
        thread::scope(|scope| {
            let (waits, it_waits) = mpsc::channel();
            let lockfile = sandbox.lockfile();
            let waiter = scope.spawn(move || {
                wait(&lockfile, &mut |_| {
                    // A second time if it was woken too soon; then nobody listens.
                    let _ = waits.send(gettid());
                })
                .unlock()
                .unwrap();
            });
            await_sleep_of(it_waits.recv().unwrap());
            let _rest = happen(&sandbox, busy);
            waiter.join().unwrap();
        });
        sandbox.assert_free_and_clean();
    }
}

fn plant_bystander(sandbox: &Sandbox) -> Bystander {
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    bystander
}

#[test]
fn the_release_of_the_lock_ends_a_sleep() {
    assert_wakes(|it| Peer::holding(&it.path()), |_, mut owner| owner.must("unlock"));
}

#[test]
fn the_release_of_the_lock_by_a_thread_of_the_same_process_ends_a_sleep() {
    assert_wakes(Sandbox::lock, |_, guard| guard.unlock().unwrap());
}

#[test]
fn the_death_of_the_owner_ends_a_sleep() {
    assert_wakes(|it| Peer::holding(&it.path()), |_, mut owner| owner.kill());
}

#[test]
fn the_death_of_an_owner_that_nobody_reaps_ends_a_sleep() {
    let zombies = std::sync::Mutex::new(Vec::new());
    assert_wakes(
        |it| Peer::holding(&it.path()),
        |_, mut owner| {
            owner.kill_without_reaping();
            zombies.lock().unwrap().push(owner);
        },
    );
}

#[test]
fn the_end_of_a_pid_only_owner_ends_a_sleep() {
    assert_wakes(plant_bystander, |_, owner| drop(owner));
}

#[test]
fn the_removal_of_the_file_by_an_outsider_ends_a_sleep() {
    assert_wakes(
        |it| Peer::holding(&it.path()),
        |it, owner| {
            fs::remove_file(it.path()).unwrap();
            owner
        },
    );
    assert_wakes(plant_bystander, |it, owner| {
        fs::remove_file(it.path()).unwrap();
        owner
    });
}

#[test]
fn the_renaming_of_the_file_by_an_outsider_ends_a_sleep() {
    let elsewhere = Sandbox::new();
    assert_wakes(plant_bystander, |it, owner| {
        fs::rename(it.path(), elsewhere.path()).unwrap();
        owner
    });
}

#[test]
fn a_record_that_is_cleared_in_place_ends_a_sleep() {
    assert_wakes(plant_bystander, |it, owner| {
        it.plant("");
        owner
    });
}

#[test]
fn the_close_of_a_file_whose_record_names_nobody_ends_a_sleep() {
    assert_wakes(
        |it| {
            it.plant("junk");
            let file = File::options().write(true).open(it.path()).unwrap();
            file.try_lock().unwrap();
            file
        },
        |_, file| drop(file),
    );
}

#[test]
fn a_new_owner_is_watched_in_place_of_the_old_one() {
    for wait in WAITS {
        let sandbox = Sandbox::new();
        let mut first = Some(Peer::holding(&sandbox.path()));
        let mut second = None;
        let mut owners = Vec::new();
        let guard = wait(&sandbox.lockfile(), &mut |attempt| {
            let owner = attempt.owner().unwrap();
            if owners.last() != Some(&owner) {
                owners.push(owner);
                if first.is_some() {
                    let bystander = Bystander::new();
                    let next = sandbox.dir().join("next");
                    fs::write(&next, record_of(bystander.pid())).unwrap();
                    fs::rename(next, sandbox.path()).unwrap();
                    second = Some(bystander);
                    drop(first.take());
                } else {
                    drop(second.take());
                }
            }
        });
        assert_eq!(owners.len(), 2);
        guard.unlock().unwrap();
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn a_watched_sleep_ends_as_soon_as_it_is_cancelled() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let lockfile = sandbox.lockfile();
    let quickest = quickest_end(|token: &CancelToken, waits: &dyn Fn()| {
        let policy = long_sleep();
        let run = policy.run().on_wait(|_| waits()).cancel_on(token);
        assert_eq!(run.acquire(&lockfile).unwrap_err().reason, GaveUp::Cancelled);
    });
    assert!(quickest < 5 * MS, "{quickest:?}");
    #[cfg(feature = "tokio")]
    {
        let quickest = quickest_end(|token: &CancelToken, waits: &dyn Fn()| {
            let policy = long_sleep();
            let run = policy.run().on_wait(|_| waits()).cancel_on(token);
            let error = runtime().block_on(run.acquire_async(&lockfile)).unwrap_err();
            assert_eq!(error.reason, GaveUp::Cancelled);
        });
        assert!(quickest < 5 * MS, "{quickest:?}");
    }
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn an_event_ends_a_sleep_on_a_paused_clock() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let mut attempts = 0;
    let policy = long_sleep();
    let run = policy.run().on_wait(|_| {
        attempts += 1;
        drop(held.take());
    });
    run.acquire_async(&sandbox.lockfile()).await.unwrap().unlock().unwrap();
    assert_eq!(attempts, 1);
}
