//! Runtimes without the drivers that a run would use.

use std::sync::mpsc;
use std::thread;

use pidlockfile::retry::{CancelToken, RetryPolicy};
use tokio::time::timeout;

use crate::retry_async::SECOND;
use crate::support::sandbox::Sandbox;
use crate::support::waiting::SOON;

type Builder = tokio::runtime::Builder;

fn runtime_with(enable: fn(&mut Builder) -> &mut Builder) -> tokio::runtime::Runtime {
    enable(&mut Builder::new_current_thread()).build().unwrap()
}

#[test]
fn in_a_runtime_without_io_a_run_sleeps_by_its_schedule() {
    let runtime = runtime_with(Builder::enable_time);
    let sandbox = Sandbox::new();
    let token = CancelToken::new().unwrap();
    let mut held = Some(sandbox.lock());
    let policy = RetryPolicy::fixed(SECOND / 50).with_max_elapsed(None);
    let run = policy.run().cancel_on(&token).on_wait(|attempt| {
        if attempt.number == 3 {
            drop(held.take());
        }
    });
    let guard = runtime.block_on(run.acquire_async(&sandbox.lockfile())).unwrap();
    // A cancelled token is noticed all the same.
    let run = policy.run().cancel_on(&token).on_wait(|_| token.cancel());
    let error = runtime.block_on(run.acquire_async(&sandbox.lockfile())).unwrap_err();
    assert!(error.is_cancelled());
    drop(guard);
}

#[test]
fn in_a_runtime_without_time_every_run_panics_at_its_start() {
    let runtime = runtime_with(Builder::enable_io);
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let run = || runtime.block_on(RetryPolicy::default().run().acquire_async(&lockfile));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap();
    assert!(text.contains("enable_time"), "{text}");
    assert!(sandbox.names().is_empty());
}

#[tokio::test]
async fn a_task_wakes_when_another_thread_cancels_the_token() {
    let token = CancelToken::new().unwrap();
    let other = token.clone();
    let (waits, it_waits) = mpsc::channel();
    let cancel = thread::spawn(move || {
        it_waits.recv().unwrap();
        other.cancel();
    });
    let task = tokio::spawn({
        let token = token.clone();
        async move {
            waits.send(()).unwrap();
            token.cancelled().await;
        }
    });
    timeout(SOON, task).await.unwrap().unwrap();
    // If it was cancelled before, the task does not sleep.
    token.cancelled().await;
    cancel.join().unwrap();
}
