//! Waiting for the lock, and giving up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, iter, process, thread};

use nix::libc;
use pidlockfile::Error;
use pidlockfile::retry::{
    Again, Attempt, CancelToken, GaveUp, Jitter, RetryError, RetryPolicy, Temporary, TryLock,
    acquire_with_retry,
};

use crate::peer::Peer;
use crate::sandbox::{Bystander, Sandbox, record_of};
use crate::support::allocations::allocations;
use crate::support::waiting::{LONG, would_block};
use crate::trace::{Traced, require_traced};

const MS: Duration = Duration::from_millis(1);

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// A policy that tries again at once, as nearly as it can.
fn hasty() -> RetryPolicy {
    RetryPolicy::fixed(Duration::from_nanos(1)).with_max_elapsed(None)
}

fn attempts(limit: u32) -> RetryPolicy {
    let builder = RetryPolicy::builder().initial_delay(MS);
    builder.max_attempts(limit).max_elapsed(None).build().unwrap()
}

#[test]
fn a_free_lock_is_taken_at_the_first_attempt() {
    let sandbox = Sandbox::new();
    let guard = RetryPolicy::default()
        .run()
        .on_wait(|attempt| panic!("{attempt:?}"))
        .acquire(&sandbox.lockfile())
        .unwrap();
    assert_eq!(guard.path(), sandbox.path());
    guard.unlock().unwrap();
}

#[test]
fn a_free_lock_costs_no_allocation() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let policy = RetryPolicy::default();
    let token = CancelToken::new().unwrap();
    assert_eq!(allocations(|| drop(acquire_with_retry(&lockfile, &policy).unwrap())), 0);
    let mut waits = 0;
    let run = policy.run().on_wait(|_| waits += 1).cancel_on(&token);
    assert_eq!(allocations(|| drop(run.acquire(&lockfile).unwrap())), 0);
    assert_eq!(waits, 0);
}

#[test]
fn a_free_lock_costs_the_system_calls_of_try_lock() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    let mut calls_of = |command| {
        let mut calls = traced.calls(command);
        // A system call only where the vDSO has no clock.
        calls.retain(|&call| call != libc::SYS_clock_gettime);
        traced.calls("unlock");
        calls
    };
    assert_eq!(calls_of("acquire_with_retry"), calls_of("try_lock"));
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_released() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let guard = hasty()
        .run()
        .on_wait(|attempt| {
            assert_eq!(attempt.owner(), Some(process::id()));
            drop(held.take());
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    guard.unlock().unwrap();
    sandbox.assert_free_and_clean();
}

#[test]
fn a_waiter_gets_the_lock_when_its_owner_is_killed() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let pid = owner.pid();
    let guard = hasty()
        .run()
        .on_wait(|attempt| {
            if attempt.number == 1 {
                assert_eq!(attempt.owner(), Some(pid));
                owner.kill();
            }
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    guard.verify().unwrap();
}

#[test]
fn sixteen_waiters_all_get_the_lock_one_at_a_time() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let held = lockfile.try_lock().unwrap();
    let waiting = AtomicUsize::new(0);
    let (all_wait, somebody_waits) = std::sync::mpsc::channel();
    let inside = Mutex::new(());
    thread::scope(|scope| {
        let waiters: Vec<_> = iter::repeat_with(|| {
            scope.spawn(|| {
                let policy = RetryPolicy::fixed(MS).with_max_elapsed(None);
                let guard = policy
                    .run()
                    .on_wait(|attempt| {
                        if attempt.number == 1 && waiting.fetch_add(1, Ordering::SeqCst) == 15 {
                            all_wait.send(()).unwrap();
                        }
                    })
                    .acquire(&lockfile)
                    .unwrap();
                let _alone = inside.try_lock().unwrap();
                guard.verify().unwrap();
                guard
            });
        })
        .take(16)
        .collect();
        somebody_waits.recv().unwrap();
        drop(held);
        assert_eq!(waiters.len(), 16);
    });
    sandbox.assert_free_and_clean();
}

#[test]
fn a_permanent_error_ends_the_run_at_once() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let error = RetryPolicy::daemon()
        .run()
        .on_wait(|attempt| panic!("{attempt:?}"))
        .acquire(&sandbox.lockfile())
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 1));
    assert!(matches!(error.last, Some(Error::NotAFile { .. })));
}

#[test]
fn a_permanent_error_ends_the_run_after_temporary_ones() {
    let mut errors = [would_block(), would_block(), denied()].into_iter();
    let error = hasty().run().call(|| Err::<(), _>(errors.next().unwrap())).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 3));
    assert_eq!(error.last.unwrap().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_run_gives_up_when_its_attempts_are_used_up() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    for limit in [1, 2, 5] {
        let error = acquire_with_retry(&sandbox.lockfile(), &attempts(limit)).unwrap_err();
        assert_eq!((error.reason, error.attempts), (GaveUp::Attempts, limit));
        assert!(matches!(error.last, Some(Error::Busy { .. })));
    }
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Attempts, 1));
}

#[test]
fn a_run_makes_its_last_attempt_when_the_time_is_up() {
    let limit = 25 * MS;
    let token = CancelToken::new().unwrap();
    for token in [None, Some(&token)] {
        let started = Instant::now();
        let last = Cell::new(Duration::ZERO);
        let policy = RetryPolicy::fixed(10 * MS).with_max_elapsed(limit);
        let run = policy.run();
        let run = if let Some(token) = token { run.cancel_on(token) } else { run };
        let error = run
            .call(|| {
                last.set(started.elapsed());
                Err::<(), _>(would_block())
            })
            .unwrap_err();
        assert_eq!(error.reason, GaveUp::Deadline);
        assert!(error.elapsed >= limit);
        assert!(last.get() >= limit, "the last attempt came after {:?}", last.get());
        // After 0, 10, 20 and 25 ms, or fewer on a machine that oversleeps.
        assert!((2..=4).contains(&error.attempts), "{error:?}");
    }
}

#[test]
fn a_deadline_of_zero_makes_one_attempt() {
    let policy = RetryPolicy::daemon().with_max_elapsed(Duration::ZERO);
    let error = policy
        .run()
        .on_wait(|attempt| panic!("{attempt:?}"))
        .call(|| Err::<(), _>(would_block()))
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 1));
}

#[test]
fn the_hook_hears_of_every_sleep_and_not_of_giving_up() {
    let mut heard = Vec::new();
    let policy = RetryPolicy::fixed(MS).with_max_elapsed(None);
    let mut errors = [would_block(), would_block(), denied()].into_iter();
    let mut least = Duration::ZERO;
    let error = policy
        .run()
        .on_wait(|attempt: &Attempt<'_>| {
            assert!(attempt.elapsed >= least);
            least = attempt.elapsed + MS;
            heard.push((attempt.number, attempt.error.to_string(), attempt.next_delay));
        })
        .call(|| Err::<(), _>(errors.next().unwrap()))
        .unwrap_err();
    let text = would_block().to_string();
    assert_eq!(heard, [(1, text.clone(), MS), (2, text, MS)]);
    assert_eq!(error.attempts, 3);
    assert!(error.elapsed >= least);
}

#[test]
fn the_last_of_several_hooks_counts() {
    let mut called = false;
    let mut results = [Err(would_block()), Ok(())].into_iter();
    let run = hasty().with_max_elapsed(None);
    run.run()
        .on_wait(|_| panic!("replaced"))
        .on_wait(|_| called = true)
        .call(|| results.next().unwrap())
        .unwrap();
    assert!(called);
}

#[test]
fn the_time_that_the_hook_takes_is_part_of_the_wait() {
    let second = Duration::from_secs(1);
    let policy = RetryPolicy::fixed(second).with_max_elapsed(second);
    let error = policy
        .run()
        .on_wait(|_| thread::sleep(second))
        .call(|| Err::<(), _>(would_block()))
        .unwrap_err();
    assert!((second..2 * second).contains(&error.elapsed), "{error:?}");
}

#[test]
fn a_panic_in_the_hook_leaves_nothing_locked() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let lockfile = sandbox.lockfile();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        hasty().run().on_wait(|_| std::panic::resume_unwind(Box::new("hook"))).acquire(&lockfile)
    }));
    assert_eq!(*unwound.unwrap_err().downcast::<&str>().unwrap(), "hook");
    drop(held.take());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_panic_in_the_operation_leaves_nothing_locked() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let mut calls = 0;
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        hasty().run().call(|| {
            calls += 1;
            if calls < 3 {
                return Err(would_block());
            }
            let _guard = lockfile.try_lock().unwrap();
            std::panic::resume_unwind(Box::new("operation"));
            #[expect(unreachable_code, reason = "it gives the closure its type")]
            Ok(())
        })
    }));
    assert_eq!(*unwound.unwrap_err().downcast::<&str>().unwrap(), "operation");
    assert_eq!(calls, 3);
    sandbox.assert_free_and_clean();
}

#[test]
fn a_lock_kept_elsewhere_is_waited_for_alike() {
    struct Elsewhere(Cell<u32>);
    #[derive(Debug)]
    struct NotYet;
    impl std::fmt::Display for NotYet {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("not yet")
        }
    }
    impl Temporary for NotYet {
        fn is_temporary(&self) -> bool {
            true
        }
    }
    impl TryLock for Elsewhere {
        type Guard = &'static str;
        type Error = NotYet;
        fn try_lock(&self) -> Result<&'static str, NotYet> {
            self.0.set(self.0.get() + 1);
            if self.0.get() == 3 { Ok("locked") } else { Err(NotYet) }
        }
    }
    assert_eq!(NotYet.owner(), None);
    assert_eq!(acquire_with_retry(&Elsewhere(Cell::new(0)), &hasty()).unwrap(), "locked");
    let error = acquire_with_retry(&Elsewhere(Cell::new(3)), &attempts(2)).unwrap_err();
    assert!(matches!(error, RetryError { reason: GaveUp::Attempts, last: Some(NotYet), .. }));
}

#[test]
fn which_io_errors_are_temporary() {
    use io::ErrorKind as Kind;
    for kind in [Kind::WouldBlock, Kind::Interrupted, Kind::TimedOut, Kind::ResourceBusy] {
        assert!(Temporary::is_temporary(&io::Error::from(kind)), "{kind:?}");
    }
    for kind in [Kind::NotFound, Kind::PermissionDenied, Kind::StorageFull, Kind::Other] {
        assert!(!Temporary::is_temporary(&io::Error::from(kind)), "{kind:?}");
    }
}

/// A run that ended in this way, after this time.
fn gave_up(reason: GaveUp, attempts: u32, elapsed: Duration) -> RetryError<io::Error> {
    let mut error = RetryPolicy::none().run().call(|| Err::<(), _>(would_block())).unwrap_err();
    (error.reason, error.attempts, error.elapsed) = (reason, attempts, elapsed);
    error
}

#[test]
fn every_text_is_what_it_is_meant_to_be() {
    let busy = would_block();
    for (reason, attempts, elapsed, text) in [
        (GaveUp::Permanent, 1, MS, String::new()),
        (GaveUp::Attempts, 1, MS, "gave up after 1 attempt: ".to_owned()),
        (GaveUp::Attempts, 3, MS, "gave up after 3 attempts: ".to_owned()),
        (GaveUp::Deadline, 46, 10_004 * MS, "gave up after 10.0s and 46 attempts: ".to_owned()),
        (GaveUp::Deadline, 1, Duration::ZERO, "gave up after 1 attempt: ".to_owned()),
        (GaveUp::Deadline, 2, MS * 999 / 1000, "gave up after 2 attempts: ".to_owned()),
        (GaveUp::Cancelled, 1, 5 * MS, "cancelled after 5ms and 1 attempt: ".to_owned()),
        (GaveUp::Cancelled, 9, 1500 * MS, "cancelled after 1.5s and 9 attempts: ".to_owned()),
    ] {
        assert_eq!(gave_up(reason, attempts, elapsed).to_string(), format!("{text}{busy}"));
    }
    let without = |reason| RetryError::<io::Error>::new(reason, None).to_string();
    assert_eq!(without(GaveUp::Cancelled), "cancelled before the first attempt");
    assert_eq!(without(GaveUp::Permanent), "failed for good");
}

#[test]
fn the_text_alone_names_the_lock_and_its_owner() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let busy = sandbox.lockfile().try_lock().unwrap_err();
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    assert_eq!(error.to_string(), format!("gave up after 1 attempt: {busy}"));
    let error =
        acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default().with_max_elapsed(20 * MS));
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("gave up after 2") && text.ends_with(&format!(": {busy}")), "{text}");
}

#[test]
fn a_permanent_error_reads_as_itself() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let alone = sandbox.lockfile().try_lock().unwrap_err();
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap_err();
    assert_eq!(error.to_string(), alone.to_string());
    assert!(error.is_permanent() && !error.is_busy() && !error.is_cancelled());
}

#[test]
fn in_a_chain_of_causes_nothing_stands_twice() {
    let nowhere = pidlockfile::Lockfile::new("/missing/test.pid").unwrap();
    let alone = nowhere.try_lock().unwrap_err();
    let error = acquire_with_retry(&nowhere, &RetryPolicy::default()).unwrap_err();
    assert_eq!(error.to_string(), alone.to_string());
    assert_eq!(error.source().unwrap().to_string(), alone.source().unwrap().to_string());
    assert!(error.source().unwrap().source().is_none());
}

#[test]
fn what_ended_a_run_is_one_question() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let mut error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    assert!(error.is_busy() && !error.is_permanent() && !error.is_cancelled());
    assert_eq!(error.owner(), Some(process::id()));
    error.last = None;
    assert_eq!(error.owner(), None);
    let error = RetryError::new(GaveUp::Deadline, would_block());
    assert!(error.is_busy());
    assert_eq!((error.attempts, error.elapsed), (1, Duration::ZERO));
}

#[test]
fn as_an_io_error_it_has_the_kind_of_its_reason_and_keeps_itself_inside() {
    for (reason, kind) in [
        (GaveUp::Attempts, io::ErrorKind::WouldBlock),
        (GaveUp::Deadline, io::ErrorKind::TimedOut),
        (GaveUp::Cancelled, io::ErrorKind::Other),
    ] {
        let error = io::Error::from(gave_up(reason, 2, MS));
        assert_eq!(error.kind(), kind);
        let inside = error.get_ref().unwrap().downcast_ref::<RetryError<io::Error>>().unwrap();
        assert_eq!(inside.reason, reason);
    }
}

#[test]
fn as_an_io_error_a_permanent_one_keeps_its_own_kind() {
    let run = || RetryPolicy::none().run().call(|| Err::<(), _>(denied())).unwrap_err();
    assert_eq!(io::Error::from(run()).kind(), io::ErrorKind::PermissionDenied);

    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);

    let nowhere = pidlockfile::Lockfile::new(sandbox.dir().join("missing/test.pid")).unwrap();
    let error = acquire_with_retry(&nowhere, &RetryPolicy::default()).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
}

#[test]
fn as_an_io_error_an_unknown_permanent_one_is_other() {
    #[derive(Debug)]
    struct Broken;
    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("broken")
        }
    }
    impl std::error::Error for Broken {}
    impl Temporary for Broken {
        fn is_temporary(&self) -> bool {
            false
        }
    }
    let error = RetryPolicy::none().run().call(|| Err::<(), _>(Broken)).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
}

#[test]
fn a_hook_uses_what_it_hears_without_naming_a_type() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let busy = sandbox.lockfile().try_lock().unwrap_err();
    let run = RetryPolicy::default().run();
    let guard = run
        .on_wait(|a| {
            assert_eq!(a.error.to_string(), busy.to_string());
            assert!(matches!(a.error_as(), Some(Error::Busy { kernel_locked: true, .. })));
            assert!(a.error_as::<io::Error>().is_none());
            drop(held.take());
        })
        .acquire(&sandbox.lockfile())
        .unwrap();
    guard.unlock().unwrap();
}

#[test]
fn a_run_outlives_its_policy_and_its_token() {
    fn check<T: 'static>(run: T) -> T {
        run
    }
    let sandbox = Sandbox::new();
    let run = {
        let token = CancelToken::new().unwrap();
        check(RetryPolicy::daemon().run().cancel_on(&token).on_wait(|_| ()))
    };
    run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
}

#[test]
fn the_text_of_an_attempt_says_all_that_one_wants_to_log() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    let busy = sandbox.lockfile().try_lock().unwrap_err().to_string();
    assert!(busy.contains("kernel_lock_only"), "no remedy: {busy}");
    let mut texts = Vec::new();
    let policy = RetryPolicy::builder().initial_delay(20 * MS).jitter(Jitter::None);
    let policy = policy.max_delay(1500 * MS).multiplier(60.0).max_attempts(2).build().unwrap();
    let mut errors = [would_block(), would_block()].into_iter();
    policy
        .run()
        .on_wait(|attempt| texts.push(attempt.to_string()))
        .acquire(&sandbox.lockfile())
        .unwrap_err();
    assert_eq!(texts, [format!("{busy} (attempt 1, the next within 20ms)")]);
    texts.clear();
    let run = policy.to_builder().max_attempts(3).build().unwrap().run();
    run.on_wait(|attempt| texts.push(attempt.to_string()))
        .call(|| errors.next().map_or(Ok(()), Err))
        .unwrap();
    assert!(texts[1].starts_with("operation would block (attempt 2 after "), "{texts:?}");
    assert!(texts[1].ends_with("ms, the next within 1.2s)"), "{texts:?}");
}

#[test]
fn a_hook_may_hear_of_new_owners_only() {
    struct Handed(RefCell<VecDeque<Option<u32>>>);
    #[derive(Debug)]
    struct HeldBy(Option<u32>);
    impl std::fmt::Display for HeldBy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "held by {:?}", self.0)
        }
    }
    impl Temporary for HeldBy {
        fn is_temporary(&self) -> bool {
            true
        }
        fn owner(&self) -> Option<u32> {
            self.0
        }
    }
    impl TryLock for Handed {
        type Guard = ();
        type Error = HeldBy;
        fn try_lock(&self) -> Result<(), HeldBy> {
            self.0.borrow_mut().pop_front().map_or(Ok(()), |owner| Err(HeldBy(owner)))
        }
    }
    let lock = Handed(RefCell::new([Some(7), Some(7), None, None, Some(8), Some(7)].into()));
    let mut heard = Vec::new();
    hasty().run().on_new_owner(|attempt| heard.push(attempt.owner())).acquire(&lock).unwrap();
    assert_eq!(heard, [Some(7), None, Some(8), Some(7)]);
}

#[test]
fn a_closure_chooses_which_errors_are_tried_again() {
    let mut errors = [Err("try later"), Err("try later"), Err("no"), Ok(())].into_iter();
    let run = hasty().run();
    let error = run.call_when(|| errors.next().unwrap(), |error| error.ends_with("later"));
    let error = error.unwrap_err();
    assert_eq!((error.reason, error.attempts, error.last), (GaveUp::Permanent, 3, Some("no")));
}

#[test]
fn a_servers_own_delay_takes_the_place_of_the_next_one() {
    let mut heard = Vec::new();
    let policy = RetryPolicy::builder().initial_delay(MS).jitter(Jitter::None).build().unwrap();
    let policy = policy.with_max_elapsed(LONG);
    let mut errors = [20, 0, 100_000].into_iter();
    let error = policy
        .run()
        .on_wait(|attempt| heard.push(attempt.next_delay))
        .call_when(
            || errors.next().map_or(Ok(()), Err),
            |delay| match delay {
                0 => Again::Scheduled,
                100_000 => Again::Never,
                ms => Again::After(Duration::from_millis(*ms)),
            },
        )
        .unwrap_err();
    assert_eq!((error.reason, error.last), (GaveUp::Permanent, Some(100_000)));
    // Longer than the longest delay if need be, and the policy's own delays go on where they were.
    assert_eq!(heard, [20 * MS, MS]);
}

#[test]
fn a_servers_own_delay_does_not_outlast_the_deadline() {
    let mut heard = Vec::new();
    let error = RetryPolicy::default()
        .with_max_elapsed(20 * MS)
        .run()
        .on_wait(|attempt| heard.push(attempt.next_delay))
        .call_when(|| Err::<(), _>("later"), |_| Again::After(LONG))
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 2));
    assert!(heard[0] <= 20 * MS, "{heard:?}");
}

#[test]
fn an_error_of_a_lock_may_ask_for_its_own_delay() {
    #[derive(Debug)]
    struct Later;
    impl std::fmt::Display for Later {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("later")
        }
    }
    impl Temporary for Later {
        fn is_temporary(&self) -> bool {
            true
        }
        fn retry_after(&self) -> Option<Duration> {
            Some(3 * MS)
        }
    }
    let mut heard = Vec::new();
    let run = attempts(2).run().on_wait(|attempt| heard.push(attempt.next_delay));
    run.call(|| Err::<(), _>(Later)).unwrap_err();
    assert_eq!(heard, [3 * MS]);
}

#[test]
fn running_out_of_descriptors_ends_no_wait_but_a_first_attempt() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
        let short = || io::Error::from_raw_os_error(errno);
        let error = hasty().run().call(|| Err::<(), _>(short())).unwrap_err();
        assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 1));
        let mut results = [Err(would_block()), Err(short()), Err(short()), Ok(())].into_iter();
        hasty().run().call(|| results.next().unwrap()).unwrap();
    }
}
