//! When a run calls its hooks, and what they may do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{io, thread};

use pidlockfile::Error;
use pidlockfile::retry::{Attempt, RetryPolicy, Temporary, TryLock};

use crate::retry::{MS, denied, hasty};
use crate::support::sandbox::Sandbox;
use crate::support::waiting::would_block;

#[test]
fn the_hook_is_called_before_every_sleep_and_not_on_giving_up() {
    let mut seen = Vec::new();
    let policy = RetryPolicy::fixed(MS).with_max_elapsed(None);
    let mut errors = [would_block(), would_block(), denied()].into_iter();
    let mut least = Duration::ZERO;
    let error = policy
        .run()
        .on_wait(|attempt: &Attempt<'_>| {
            assert!(attempt.elapsed >= least);
            least = attempt.elapsed + MS;
            seen.push((attempt.number, attempt.error.to_string(), attempt.next_delay));
        })
        .call(|| Err::<(), _>(errors.next().unwrap()))
        .unwrap_err();
    let text = would_block().to_string();
    assert_eq!(seen, [(1, text.clone(), MS), (2, text, MS)]);
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
fn a_hook_needs_to_name_no_type() {
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
fn a_hook_can_be_called_for_new_owners_only() {
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
    let mut seen = Vec::new();
    hasty().run().on_new_owner(|attempt| seen.push(attempt.owner())).acquire(&lock).unwrap();
    assert_eq!(seen, [Some(7), None, Some(8), Some(7)]);
}
