//! Waits in tasks: dropped, aborted, selected, spawned.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pidlockfile::retry::{CancelToken, RetryPolicy, acquire_with_retry_async};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::retry_async::SECOND;
use crate::support::sandbox::Sandbox;
use crate::support::waiting::{LONG, would_block};

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_wait_and_leaves_nothing_locked() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let held = sandbox.lock();
    let policy = RetryPolicy::daemon();
    timeout(30 * SECOND, acquire_with_retry_async(&lockfile, &policy)).await.unwrap_err();
    drop(held);
    sandbox.assert_free_and_clean();
}

#[tokio::test(start_paused = true)]
async fn select_ends_the_wait_and_leaves_nothing_locked() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let held = sandbox.lock();
    let waits = Notify::new();
    let policy = RetryPolicy::daemon();
    let run = policy.run().on_wait(|_| waits.notify_one());
    tokio::select! {
        biased;
        () = waits.notified() => {}
        result = run.acquire_async(&lockfile) => panic!("{result:?}"),
    }
    drop(held);
    sandbox.assert_free_and_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborting_the_task_leaves_nothing_locked() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let waits = Arc::new(Notify::new());
    let it_waits = Arc::clone(&waits);
    let lockfile = sandbox.lockfile();
    let task = tokio::spawn(async move {
        let policy = RetryPolicy::fixed(LONG).with_max_elapsed(None);
        policy.run().on_wait(|_| waits.notify_one()).acquire_async(&lockfile).await
    });
    it_waits.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    drop(held);
    sandbox.assert_free_and_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborting_a_task_that_holds_the_lock_releases_it() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let holds = Arc::new(Notify::new());
    let it_holds = Arc::clone(&holds);
    let task = tokio::spawn(async move {
        let guard = acquire_with_retry_async(&lockfile, &RetryPolicy::default()).await.unwrap();
        holds.notify_one();
        pending::<()>().await;
        drop(guard);
    });
    it_holds.notified().await;
    assert!(sandbox.lockfile().try_lock().unwrap_err().is_temporary());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    sandbox.assert_free_and_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_tasks_all_get_the_lock() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let waiting = Arc::new(AtomicUsize::new(0));
    let all_wait = Arc::new(Notify::new());
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (waiting, all_wait) = (Arc::clone(&waiting), Arc::clone(&all_wait));
            let lockfile = sandbox.lockfile();
            tokio::spawn(async move {
                let policy = RetryPolicy::fixed(SECOND / 1000).with_max_elapsed(None);
                let run = policy.run().on_wait(|attempt| {
                    if attempt.number == 1 && waiting.fetch_add(1, Ordering::SeqCst) == 15 {
                        all_wait.notify_one();
                    }
                });
                run.acquire_async(&lockfile).await.unwrap().verify().unwrap();
            })
        })
        .collect();
    all_wait.notified().await;
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    sandbox.assert_free_and_clean();
}

#[test]
fn the_futures_can_move_to_another_thread() {
    fn check(_: impl Send) {}
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let policy = RetryPolicy::default();
    let token = CancelToken::new().unwrap();
    check(acquire_with_retry_async(&lockfile, &policy));
    check(policy.run().cancel_on(&token).on_wait(|_| ()).acquire_async(&lockfile));
    check(policy.run().call_async(async || Err::<(), _>(would_block())));
}

#[test]
fn the_futures_outlive_their_policy_and_go_where_a_task_goes() {
    fn check(_: impl Send + 'static) {}
    let sandbox = Sandbox::new();
    let token = CancelToken::new().unwrap();
    check(acquire_with_retry_async(sandbox.lockfile(), &RetryPolicy::default()));
    let lock = Arc::new(sandbox.lockfile());
    check(RetryPolicy::daemon().run().cancel_on(&token).on_wait(|_| ()).acquire_async(lock));
}

#[tokio::test]
async fn a_spawned_run_and_one_in_select_need_no_policy_beside_them() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let task = tokio::spawn(RetryPolicy::daemon().run().acquire_async(lockfile.clone()));
    task.await.unwrap().unwrap().unlock().unwrap();
    tokio::select! {
        guard = RetryPolicy::daemon().run().acquire_async(&lockfile) => guard.unwrap().unlock().unwrap(),
        () = pending() => {}
    }
}
