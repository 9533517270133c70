//! A server that is frozen: deadlines, cancellation and timeouts hold in the middle of a request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::etcd::EtcdError;
use pidlockfile::retry::{CancelToken, GaveUp, RetryPolicy};

use crate::support::http::{leases, line};
use crate::support::locks::{at_most, lock_at, patient};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

/// An attempt that nothing ends takes so long.
const ATTEMPT: Duration = Duration::from_secs(50);
/// Far from that, and from what a busy machine adds.
const MUCH_LESS: Duration = Duration::from_secs(20);

/// The server carries out now what it was asked while it was frozen, and then what takes that back.
fn assert_clean_after(server: &Server, proxy: &Proxy, revokes: usize) {
    server.thaw();
    proxy.wait_for("/lease/revoke", revokes);
    until("no lease is left", || leases(&server.address()).is_empty());
    assert_eq!(line(&server.address(), "name"), []);
}

#[test]
fn a_deadline_ends_an_attempt_that_a_frozen_server_does_not_answer() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let lock = lock_at(&proxy.endpoint(), "name").request_timeout(ATTEMPT);
    server.freeze();
    let limit = Duration::from_millis(700);
    let error = at_most(limit).run().acquire(&lock).unwrap_err();
    assert_eq!(error.reason, GaveUp::Deadline);
    assert!(error.elapsed >= limit && error.elapsed < MUCH_LESS, "{:?}", error.elapsed);
    assert_clean_after(&server, &proxy, 1);
}

#[test]
fn a_cancelled_token_ends_an_attempt_that_a_frozen_server_does_not_answer() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let lock = lock_at(&proxy.endpoint(), "name").request_timeout(ATTEMPT);
    server.freeze();
    let stop = CancelToken::new().unwrap();
    let waits = AtomicUsize::new(0);
    let error = thread::scope(|scope| {
        let run =
            patient().run().cancel_on(&stop).on_wait(|_| _ = waits.fetch_add(1, Ordering::Relaxed));
        let waiter = scope.spawn(|| run.acquire(&lock).unwrap_err());
        proxy.wait_for("", 1);
        stop.cancel();
        waiter.join().unwrap()
    });
    assert!(error.is_cancelled());
    assert!(error.elapsed < MUCH_LESS, "{:?}", error.elapsed);
    assert_eq!(waits.into_inner(), 0, "a run that is over told that it waits");
    assert_clean_after(&server, &proxy, 1);
}

#[test]
fn a_waiter_is_cancelled_and_leaves_the_line_although_it_is_told_of_nothing() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let _guard = lock_at(&server.endpoint(), "name").try_lock().unwrap();
    let lock = lock_at(&proxy.endpoint(), "name");
    let stop = CancelToken::new().unwrap();
    let error = thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().cancel_on(&stop).acquire(&lock).unwrap_err());
        proxy.wait_for("/watch", 1);
        stop.cancel();
        waiter.join().unwrap()
    });
    assert!(error.is_cancelled());
    // The process may end at once: the run waits for its place to be given back.
    assert_eq!(line(&server.address(), "name").len(), 1);
}

#[test]
fn try_lock_on_a_frozen_server_is_over_after_the_request_timeout() {
    require_etcd!();
    let server = Server::start(&[]);
    let timeout = Duration::from_secs(1);
    let proxy = Proxy::to(&server.address());
    let lock = lock_at(&proxy.endpoint(), "name").request_timeout(timeout);
    let guard = lock_at(&proxy.endpoint(), "other").request_timeout(timeout).try_lock().unwrap();
    server.freeze();
    let start = Instant::now();
    let error = lock.try_lock().unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error:?}");
    assert!(error.is_temporary());
    assert!(start.elapsed() >= timeout && start.elapsed() < MUCH_LESS, "{:?}", start.elapsed());
    // So is the end of a guard.
    let start = Instant::now();
    drop(guard);
    assert!(start.elapsed() < MUCH_LESS, "{:?}", start.elapsed());
    assert_clean_after(&server, &proxy, 1);
    assert_eq!(line(&server.address(), "other"), []);
}

/// An attempt gets a moment even where the run has no time, or none of them could be answered.
#[test]
fn a_run_without_any_time_takes_a_free_lock_and_finds_a_held_one_busy() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    // This machine may be busy for longer than that moment.
    let take = || (0..10).find_map(|_| at_most(Duration::ZERO).run().acquire(&lock).ok());
    let guard = take().expect("none of ten runs took a free lock");
    let mut errors = (0..10).map(|_| at_most(Duration::ZERO).run().acquire(&lock).unwrap_err());
    assert!(errors.any(|error| matches!(error.last, Some(EtcdError::Busy { .. }))));
    guard.unlock().unwrap();
    until("nothing is left", || line(&server.address(), &name).is_empty());
}

#[test]
fn a_run_asks_no_more_often_than_it_may() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let guard = lock.try_lock().unwrap();
    let error = RetryPolicy::none().run().acquire(&lock).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Attempts, 1));
    guard.unlock().unwrap();
    RetryPolicy::none().run().acquire(&lock).unwrap().unlock().unwrap();
}

#[test]
fn hooks_are_told_who_holds_the_lock() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let _guard = lock.try_lock().unwrap();
    let owner = lock.owner().unwrap().unwrap().text;
    let (mut waits, mut owners) = (Vec::new(), Vec::new());
    let policy = at_most(Duration::from_millis(300));
    let run = policy.run().on_wait(|attempt| waits.push(attempt.holder().map(str::to_owned)));
    run.acquire(&lock).unwrap_err();
    let run = policy.run().on_new_owner(|attempt| owners.push(attempt.holder().map(str::to_owned)));
    run.acquire(&lock).unwrap_err();
    assert_eq!(waits, [Some(owner.clone())]);
    assert_eq!(owners, [Some(owner)]);
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use super::*;
    use tokio::time::sleep;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn an_async_wait_for_a_frozen_server_blocks_no_other_task() {
        require_etcd!();
        let server = Server::start(&[]);
        let proxy = Proxy::to(&server.address());
        let lock = lock_at(&proxy.endpoint(), "name").request_timeout(ATTEMPT);
        server.freeze();
        let mut beats = 0;
        let error = block_on(async {
            let heartbeat = async {
                loop {
                    sleep(Duration::from_millis(10)).await;
                    beats += 1;
                }
            };
            tokio::select! {
                error = async { at_most(Duration::from_secs(1)).run().acquire_async(&lock).await.unwrap_err() } => error,
                () = heartbeat => unreachable!(),
            }
        });
        assert_eq!(error.reason, GaveUp::Deadline);
        // Inline it would be one or two.
        assert!(beats >= 10, "{beats}");
        assert_clean_after(&server, &proxy, 1);
    }

    #[test]
    fn an_async_wait_has_the_lock_in_turn_and_unlocks_without_blocking() {
        require_etcd!();
        let server = Server::start(&[]);
        let lock = lock_at(&server.endpoint(), "name");
        let guard = lock.try_lock().unwrap();
        let first = guard.fencing_token();
        block_on(async {
            let waiter = async { patient().run().acquire_async(&lock).await.unwrap() };
            let release = async {
                while line(&server.address(), "name").len() < 2 {
                    sleep(Duration::from_millis(5)).await;
                }
                guard.unlock_async().await.unwrap();
            };
            let (next, ()) = tokio::join!(waiter, release);
            assert!(next.fencing_token() > first);
            next.unlock_async().await.unwrap();
        });
        assert_eq!(leases(&server.address()), [0; 0]);
    }

    #[test]
    fn a_cancelled_token_ends_an_async_attempt_that_is_not_answered() {
        require_etcd!();
        let server = Server::start(&[]);
        let proxy = Proxy::to(&server.address());
        let lock = lock_at(&proxy.endpoint(), "name").request_timeout(ATTEMPT);
        server.freeze();
        let stop = CancelToken::new().unwrap();
        let error = block_on(async {
            let cancel = async {
                while proxy.count("") == 0 {
                    sleep(Duration::from_millis(5)).await;
                }
                stop.cancel();
            };
            let run =
                async { patient().run().cancel_on(&stop).acquire_async(&lock).await.unwrap_err() };
            tokio::join!(run, cancel).0
        });
        assert!(error.is_cancelled());
        assert!(error.elapsed < MUCH_LESS, "{:?}", error.elapsed);
        assert_clean_after(&server, &proxy, 1);
    }
}
