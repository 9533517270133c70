//! The async wait. Tests of delays pause the clock, so that a policy of hours takes no time.

use std::future::ready;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io, process, thread};

use pidlockfile::Error;
use pidlockfile::retry::{CancelToken, GaveUp, RetryPolicy, acquire_with_retry_async};
use tokio::time::Instant;

use crate::support::sandbox::Sandbox;
use crate::support::waiting::{LONG, SOON, quickest_end, would_block};

mod drivers;
mod tasks;

const SECOND: Duration = Duration::from_secs(1);
#[tokio::test(start_paused = true)]
async fn attempts_are_made_exactly_when_they_are_due() {
    let started = Instant::now();
    let mut times = Vec::new();
    let policy = RetryPolicy::fixed(7 * SECOND).with_max_elapsed(10 * SECOND);
    let error = policy
        .run()
        .call_async(|| {
            times.push(started.elapsed());
            ready(Err::<(), _>(would_block()))
        })
        .await
        .unwrap_err();
    assert_eq!(times, [0, 7, 10].map(Duration::from_secs));
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 3));
    assert_eq!(error.elapsed, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_ten_seconds_takes_no_time_on_a_paused_clock() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let real = std::time::Instant::now();
    let error =
        acquire_with_retry_async(&sandbox.lockfile(), &RetryPolicy::default()).await.unwrap_err();
    assert_eq!(error.reason, GaveUp::Deadline);
    assert!(matches!(error.last, Some(Error::Busy { .. })));
    assert!(error.elapsed >= 10 * SECOND);
    assert!(real.elapsed() < 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_disturb_a_paused_clock() {
    let token = CancelToken::new().unwrap();
    let policy = RetryPolicy::fixed(7 * SECOND).with_max_elapsed(10 * SECOND);
    let run = policy.run().cancel_on(&token);
    let error = run.call_async(|| ready(Err::<(), _>(would_block()))).await.unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 3));
    assert_eq!(error.elapsed, 10 * SECOND);
}

#[tokio::test]
async fn a_free_lock_is_taken_at_the_first_attempt() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let policy = RetryPolicy::default();
    let run = policy.run().on_wait(|attempt| panic!("{attempt:?}"));
    run.acquire_async(&lockfile).await.unwrap().unlock().unwrap();
    sandbox.assert_free_and_clean();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_the_lock_when_it_is_released() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let policy = RetryPolicy::daemon();
    let lockfile = sandbox.lockfile();
    let guard = policy
        .run()
        .on_wait(|attempt| {
            assert_eq!((attempt.number, attempt.owner()), (1, Some(process::id())));
            drop(held.take());
        })
        .acquire_async(&lockfile)
        .await
        .unwrap();
    guard.unlock().unwrap();
    sandbox.assert_free_and_clean();
}

#[tokio::test]
async fn a_permanent_error_ends_the_run_at_once() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let error =
        acquire_with_retry_async(&sandbox.lockfile(), &RetryPolicy::daemon()).await.unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 1));
}

#[tokio::test]
async fn a_token_cancelled_before_allows_no_attempt() {
    let token = CancelToken::new().unwrap();
    token.cancel();
    let policy = RetryPolicy::default();
    let run = policy.run().cancel_on(&token);
    let attempt = || -> std::future::Ready<Result<(), io::Error>> { panic!("an attempt") };
    let error = run.call_async(attempt).await.unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Cancelled, 0));
}

#[tokio::test]
async fn another_thread_ends_the_sleeps_of_two_runs_that_share_a_token() {
    let token = CancelToken::new().unwrap();
    let (waits, it_waits) = mpsc::channel();
    let cancel = {
        let token = token.clone();
        thread::spawn(move || {
            it_waits.iter().take(2).for_each(drop);
            token.cancel();
        })
    };
    let policy = RetryPolicy::fixed(LONG).with_max_elapsed(LONG);
    let wait = || {
        policy
            .run()
            .on_wait(|_| waits.send(()).unwrap())
            .cancel_on(&token)
            .call_async(|| ready(Err::<(), _>(would_block())))
    };
    let (one, other) = tokio::join!(wait(), wait());
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert_eq!((error.reason, error.attempts), (GaveUp::Cancelled, 1));
        assert!(error.elapsed < SOON && error.last.is_some());
    }
    cancel.join().unwrap();
}

#[test]
fn a_sleep_ends_as_soon_as_it_is_cancelled() {
    let policy = RetryPolicy::fixed(LONG).with_max_elapsed(LONG);
    let quickest = quickest_end(|token, waits| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = policy.run().on_wait(|_| waits()).cancel_on(token);
        let error = runtime.block_on(run.call_async(|| ready(Err::<(), _>(would_block()))));
        assert_eq!(error.unwrap_err().reason, GaveUp::Cancelled);
    });
    assert!(quickest < Duration::from_millis(5), "{quickest:?}");
}

#[tokio::test(start_paused = true)]
async fn the_hook_is_called_before_every_sleep_and_not_on_giving_up() {
    let mut seen = Vec::new();
    let policy = RetryPolicy::fixed(7 * SECOND).with_max_elapsed(10 * SECOND);
    policy
        .run()
        .on_wait(|attempt| seen.push((attempt.number, attempt.elapsed, attempt.next_delay)))
        .call_async(|| ready(Err::<(), _>(would_block())))
        .await
        .unwrap_err();
    assert_eq!(seen, [(1, Duration::ZERO, 7 * SECOND), (2, 7 * SECOND, 3 * SECOND)]);
}

#[tokio::test]
async fn a_panic_in_the_hook_leaves_nothing_locked() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let lockfile = sandbox.lockfile();
    let task = tokio::spawn(async move {
        RetryPolicy::default()
            .run()
            .on_wait(|_| std::panic::resume_unwind(Box::new("hook")))
            .acquire_async(&lockfile)
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    drop(held);
    sandbox.assert_free_and_clean();
}
