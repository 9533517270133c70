//! News of a lock ends a sleep that would last until the test has failed.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use pidlockfile::retry::{Attempt, CancelToken, GaveUp, Jitter, RetryPolicy, TryLock, Watch};
use pidlockfile::{LockGuard, Lockfile};

use crate::peer::Peer;
use crate::refuse::refuse;
use crate::sandbox::{Bystander, Sandbox, record_of, set_mode};
use crate::support::process::{await_sleep_of, exit_at_once, forked, must_end_well, must_succeed};
#[cfg(feature = "tokio")]
use crate::support::waiting::runtime;
use crate::support::waiting::{SOON, long_sleep, long_wait, quickest_end};

mod calls;
mod scarce;

const MS: Duration = Duration::from_millis(1);

type Hook<'a> = &'a mut dyn FnMut(&Attempt<'_>);
type Wait = fn(&Lockfile, Hook) -> LockGuard;

/// The sync wait and its async twin.
const TWINS: &[Wait] = &[
    |lockfile, hook| long_wait(lockfile, hook),
    #[cfg(feature = "tokio")]
    |lockfile, hook| {
        let started = Instant::now();
        let guard =
            runtime().block_on(long_sleep().run().on_wait(hook).acquire_async(lockfile)).unwrap();
        assert!(started.elapsed() < SOON, "it slept to the end");
        guard
    },
];

/// Has `happen` happen just before the sleep, and when the sleep has begun, to both twins. What it returns
/// lives on until the wait is over.
fn assert_wakes<T, R>(begin: impl Fn(&Sandbox) -> T, happen: impl Fn(&Sandbox, T) -> R) {
    for wait in TWINS {
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
                    // A second time if it was woken too soon; nobody listens then.
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
fn an_owner_that_took_another_ones_place_is_watched_in_its_turn() {
    for wait in TWINS {
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
fn a_wait_that_wakes_on_nothing_watches_nothing() {
    let asked = Cell::new(false);
    let lock = Elsewhere::new(|| {
        asked.set(true);
        None
    });
    let policy = RetryPolicy::builder()
        .initial_delay(20 * MS)
        .max_attempts(3)
        .wake_on_release(false)
        .build()
        .unwrap();
    assert_eq!(policy.run().acquire(&lock).unwrap_err().attempts, 3);
    assert!(!asked.get());
    let policy = RetryPolicy::none();
    assert_eq!(policy.run().acquire(&lock).unwrap_err().attempts, 1);
    assert!(!asked.get());
}

/// A lock that is busy until it is opened, and what it is watched by.
struct Elsewhere<W> {
    is_open: Cell<bool>,
    watch: W,
}

impl<W> Elsewhere<W> {
    fn new(watch: W) -> Elsewhere<W> {
        Elsewhere { is_open: Cell::new(false), watch }
    }
}

impl<W: Fn() -> Option<Watch>> TryLock for Elsewhere<W> {
    type Guard = ();
    type Error = io::Error;

    fn try_lock(&self) -> io::Result<()> {
        if self.is_open.get() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn watch(&self) -> Option<Watch> {
        (self.watch)()
    }
}

fn copy_of(news: &PipeReader) -> Watch {
    Watch::from(OwnedFd::from(news.try_clone().unwrap()))
}

#[test]
fn a_lock_kept_elsewhere_brings_its_own_news() {
    let (news, mut teller) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&news)));
    let started = Instant::now();
    let policy = long_sleep();
    let release = |_: &Attempt<'_>| {
        lock.is_open.set(true);
        teller.write_all(b"!").unwrap();
    };
    policy.run().on_wait(release).acquire(&lock).unwrap();
    assert!(started.elapsed() < SOON);
}

#[test]
fn news_that_never_ends_makes_nobody_spin() {
    let (news, _) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&news)));
    let policy = long_sleep().with_max_elapsed(500 * MS);
    assert_few(policy.run().acquire(&lock).unwrap_err().attempts);
    #[cfg(feature = "tokio")]
    {
        let error = runtime().block_on(policy.run().acquire_async(&lock)).unwrap_err();
        assert_few(error.attempts);
    }
}

#[test]
fn news_that_was_wrong_forty_times_is_still_heard() {
    let (news, _) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&news)));
    let started = Instant::now();
    let mut wrong = 0;
    let policy = long_sleep();
    let open = |_: &Attempt<'_>| {
        wrong += 1;
        lock.is_open.set(wrong == 40);
    };
    policy.run().on_wait(open).acquire(&lock).unwrap();
    assert!(started.elapsed() < SOON);
}

/// So many as half a second of ceaseless news may bring about.
#[track_caller]
fn assert_few(attempts: u32) {
    // After delays of 10 ms on average, and those in which they grow.
    assert!((3..120).contains(&attempts), "{attempts}");
}

#[test]
fn a_file_that_changes_all_the_time_makes_nobody_spin() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                set_mode(&sandbox.path(), 0o600);
            }
        });
        let policy = long_sleep().with_max_elapsed(500 * MS);
        let error = policy.run().acquire(&sandbox.lockfile()).unwrap_err();
        over.store(true, Ordering::SeqCst);
        assert_eq!(error.reason, GaveUp::Deadline);
        assert_few(error.attempts);
    });
}

#[test]
fn an_attempt_that_news_has_brought_about_goes_back_to_the_same_sleep() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let policy = RetryPolicy::builder()
        .initial_delay(Duration::from_secs(60))
        .max_delay(Duration::from_secs(600))
        .max_attempts(2)
        .max_elapsed(None)
        .build()
        .unwrap();
    let mut ends = Vec::new();
    let guard = policy
        .run()
        .on_wait(|attempt| {
            ends.push(attempt.elapsed + attempt.next_delay);
            assert_eq!(attempt.number as usize, ends.len());
            if ends.len() < 6 {
                set_mode(&sandbox.path(), 0o600);
            } else {
                drop(held.take());
            }
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    drop(guard);
    ends.dedup();
    assert_eq!(ends.len(), 1, "{ends:?}");
}

#[test]
fn news_uses_up_no_attempts() {
    let (news, _) = io::pipe().unwrap();
    let lock = Elsewhere::new(|| Some(copy_of(&news)));
    let policy = RetryPolicy::builder()
        .initial_delay(100 * MS)
        .jitter(Jitter::None)
        .multiplier(1.0)
        .max_attempts(3)
        .build()
        .unwrap();
    let error = policy.run().acquire(&lock).unwrap_err();
    assert_eq!(error.reason, GaveUp::Attempts);
    assert!(error.attempts > 3 && error.elapsed >= 200 * MS, "{error:?}");
}

#[test]
fn a_waiter_that_was_woken_for_nothing_sleeps_on() {
    let sandbox = Sandbox::new();
    let _held = Peer::holding(&sandbox.path());
    let policy = long_sleep().with_max_elapsed(500 * MS);
    let run = policy.run().on_wait(|attempt| {
        if attempt.number == 1 {
            set_mode(&sandbox.path(), 0o600);
        }
    });
    let error = run.acquire(&sandbox.lockfile()).unwrap_err();
    // At first, for the news and at the end.
    assert_eq!(error.attempts, 3);
}

#[test]
fn waiters_do_not_wake_each_other() {
    let sandbox = Sandbox::new();
    let _held = Peer::holding(&sandbox.path());
    let policy = RetryPolicy::fixed(50 * MS).with_max_elapsed(Duration::from_secs(1));
    let schedule = 1 + u32::try_from(policy.delays().count()).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let heard = AtomicU32::new(0);
                let run = policy.run().on_wait(|_| {
                    heard.fetch_add(1, Ordering::SeqCst);
                });
                let error = run.acquire(&sandbox.lockfile()).unwrap_err();
                assert!(error.attempts <= schedule, "{} > {schedule}", error.attempts);
                assert_eq!(heard.into_inner() + 1, error.attempts);
            });
        }
    });
}

#[test]
fn without_inotify_a_wait_goes_by_its_schedule() {
    must_succeed("wake::process_without_inotify");
}

#[test]
#[ignore = "not a test: a process without inotify"]
fn process_without_inotify() {
    refuse("inotify");
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let policy = RetryPolicy::fixed(20 * MS);
    let wait = |held: &mut Option<LockGuard>| {
        let run = policy.run().on_wait(|attempt| {
            if attempt.number == 3 {
                drop(held.take());
            }
        });
        run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
    };
    #[cfg(not(feature = "tracing"))]
    wait(&mut held);
    #[cfg(feature = "tracing")]
    {
        let heard = crate::support::listener::heard_while(|| wait(&mut held));
        assert!(
            heard.iter().any(|line| line.starts_with("DEBUG no events of the lock error=")),
            "{heard:?}"
        );
    }
}

#[test]
fn without_pidfds_a_release_and_a_killed_owner_are_news_all_the_same() {
    for end in [Peer::kill as fn(&mut Peer), |owner| owner.must("unlock")] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let mut waiter = Peer::without(&sandbox.path(), &["pidfd"]);
        waiter.tell("wait_aloud");
        assert_eq!(waiter.answer(), "waiting");
        end(&mut owner);
        assert_eq!(waiter.answer(), "ok");
    }
}

/// Alone in a process: while it runs, no other wait there hears any news.
#[test]
fn more_waits_than_a_process_may_watch_go_by_their_schedule() {
    must_succeed("wake::process_that_waits_more_than_it_may_watch");
}

#[test]
#[ignore = "not a test: a process that leaves nothing to listen with"]
fn process_that_waits_more_than_it_may_watch() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let (waits, it_waits) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..40 {
            let waits = waits.clone();
            scope.spawn(|| {
                let waits = waits;
                let policy = RetryPolicy::fixed(20 * MS).with_max_elapsed(None);
                let run = policy.run().on_wait(|attempt| {
                    if attempt.number == 1 {
                        waits.send(()).unwrap();
                    }
                });
                run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
            });
        }
        it_waits.iter().take(40).for_each(drop);
        drop(held);
    });
    sandbox.assert_free_and_clean();
}

#[test]
fn a_thousand_waits_leave_no_descriptor_behind() {
    must_succeed("wake::process_that_waits_a_thousand_times");
}

#[test]
#[ignore = "not a test: a process that counts its descriptors"]
fn process_that_waits_a_thousand_times() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    for wait in TWINS {
        let open = |rounds| {
            for _ in 0..rounds {
                let mut held = Some(sandbox.lock());
                wait(&lockfile, &mut |_| drop(held.take())).unlock().unwrap();
            }
            fs::read_dir("/proc/self/fd").unwrap().count()
        };
        assert_eq!(open(1), open(1000));
    }
}

#[test]
fn a_child_forked_in_the_middle_of_a_wait_waits_for_itself() {
    must_succeed("wake::process_that_forks_in_the_middle_of_a_wait");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn process_that_forks_in_the_middle_of_a_wait() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let mut owner = Peer::holding(&sandbox.path());
    let (mut child, is_child) = (None, Cell::new(false));
    let mut releases = true;
    let guard = long_wait(&lockfile, |_| {
        if child.is_none() && !is_child.get() {
            // SAFETY: as in `forked`.
            match unsafe { nix::unistd::fork() }.unwrap() {
                nix::unistd::ForkResult::Parent { child: pid } => child = Some(pid),
                nix::unistd::ForkResult::Child => is_child.set(true),
            }
        }
        if !is_child.get() && std::mem::take(&mut releases) {
            owner.tell("unlock");
        }
    });
    if is_child.get() {
        std::mem::forget(owner);
        drop(guard);
        exit_at_once(0)
    }
    guard.unlock().unwrap();
    must_end_well(child.unwrap());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_forked_child_leaves_its_parents_watches_alone() {
    must_succeed("wake::process_whose_child_waits_too");
}

#[test]
fn a_forked_child_and_its_parent_take_no_news_from_each_other() {
    must_succeed("wake::process_that_waits_while_its_child_does");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn process_that_waits_while_its_child_does() {
    let wait = |before_the_sleep: &mut dyn FnMut()| {
        let sandbox = Sandbox::new();
        let mut held = Some(sandbox.lock());
        let release = |_: &Attempt<'_>| {
            drop(held.take());
            before_the_sleep();
        };
        long_wait(&sandbox.lockfile(), release).unlock().unwrap();
    };
    wait(&mut || ());
    // The parent's whole wait comes between the child's news and the child's sleep.
    let (mut child_hears, mut parents_word) = io::pipe().unwrap();
    let (mut parent_hears, mut childs_word) = io::pipe().unwrap();
    let child = forked(|| {
        wait(&mut || {
            childs_word.write_all(b"!").unwrap();
            child_hears.read_exact(&mut [0]).unwrap();
        });
    });
    parent_hears.read_exact(&mut [0]).unwrap();
    wait(&mut || ());
    parents_word.write_all(b"!").unwrap();
    must_end_well(child);
}

#[test]
#[ignore = "not a test: a process that forks"]
fn process_whose_child_waits_too() {
    let (sandbox, childs) = (Sandbox::new(), Sandbox::new());
    let wait = |sandbox: &Sandbox| {
        let mut held = Some(sandbox.lock());
        long_wait(&sandbox.lockfile(), |_| drop(held.take())).unlock().unwrap();
    };
    wait(&sandbox);
    // The child waits, and ends its wait, while its parent sleeps.
    let mut held = Some(sandbox.lock());
    let mut child = None;
    let guard = long_wait(&sandbox.lockfile(), |_| {
        if child.is_none() {
            child = Some(forked(|| wait(&childs)));
            must_end_well(child.unwrap());
        }
        drop(held.take());
    });
    guard.unlock().unwrap();
    wait(&sandbox);
}

/// A second as a rule, and as many as `PIDLOCKFILE_FAIRNESS_SECONDS` says.
#[test]
fn of_sixteen_waiters_none_starves() {
    must_succeed("wake::process_with_sixteen_waiters");
}

#[test]
#[ignore = "not a test: a process that leaves nothing to listen with"]
fn process_with_sixteen_waiters() {
    let seconds = std::env::var("PIDLOCKFILE_FAIRNESS_SECONDS");
    let seconds = Duration::from_secs(seconds.map_or(1, |seconds| seconds.parse().unwrap()));
    let sandbox = Sandbox::new();
    let over = AtomicBool::new(false);
    let policy = RetryPolicy::default().with_max_elapsed(None);
    let counts: Vec<u32> = thread::scope(|scope| {
        let work = || {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) {
                let guard = policy.run().acquire(&sandbox.lockfile()).unwrap();
                thread::sleep(MS);
                guard.unlock().unwrap();
                count += 1;
            }
            count
        };
        let waiters: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        thread::sleep(seconds);
        over.store(true, Ordering::SeqCst);
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
    });
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
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
async fn news_that_is_there_is_heard_on_a_paused_clock() {
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
