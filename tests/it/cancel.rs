//! Ending a wait from outside. A test of something process-wide runs in its own process.

use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pidlockfile::retry::{Attempt, CancelToken, GaveUp, RetryError, RetryPolicy};

use crate::support::peer::Peer;
use crate::support::sandbox::Sandbox;
use crate::support::trace::{Traced, require_traced};
use crate::support::waiting::{LONG, SOON, quickest_end, sleep_undisturbed, would_block};

mod forks;
mod signals;

/// Waits in a single long sleep that only `token` can end.
fn wait(token: &CancelToken, on_wait: impl FnMut(&Attempt<'_>)) -> RetryError<io::Error> {
    let policy = RetryPolicy::fixed(LONG).with_max_elapsed(LONG);
    let run = policy.run().on_wait(on_wait).cancel_on(token);
    run.call(|| Err::<(), _>(would_block())).unwrap_err()
}

#[track_caller]
fn assert_cancelled_in_its_sleep(error: &RetryError<io::Error>) {
    assert_eq!((error.reason, error.attempts), (GaveUp::Cancelled, 1));
    assert_eq!(error.last.as_ref().unwrap().kind(), io::ErrorKind::WouldBlock);
    assert!(error.elapsed < SOON, "{error:?}");
}

fn is_readable(token: &CancelToken) -> bool {
    poll(&mut [PollFd::new(token.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn a_wait_is_one_system_call_and_no_busy_loop() {
    let mut polls =
        require_traced!(Traced::new(Peer::at(&Sandbox::new().path()))).calls("wait_20_ms");
    polls.retain(|call| {
        // Where there is no poll(2), libc calls ppoll(2).
        #[cfg(target_arch = "x86_64")]
        if *call == libc::SYS_poll {
            return true;
        }
        *call == libc::SYS_ppoll
    });
    assert_eq!(polls.len(), 1);
}

/// Is cancelled by another thread in the middle of a wait, and checks that the wait ends.
fn be_cancelled_by_a_thread(token: &CancelToken) {
    thread::scope(|scope| {
        let (waits, it_waits) = mpsc::channel();
        scope.spawn(move || {
            it_waits.recv().unwrap();
            token.cancel();
        });
        assert_cancelled_in_its_sleep(&wait(token, |_| waits.send(()).unwrap()));
    });
}

#[test]
fn a_sleep_ends_as_soon_as_it_is_cancelled() {
    let quickest = quickest_end(|token, waits| {
        assert_cancelled_in_its_sleep(&wait(token, |_| waits()));
    });
    assert!(quickest < Duration::from_millis(5), "{quickest:?}");
}

#[test]
fn a_token_cancelled_before_allows_no_attempt() {
    let token = CancelToken::new().unwrap();
    token.cancel();
    let policy = RetryPolicy::default();
    let run = policy.run().cancel_on(&token);
    let error = run.call(|| -> Result<(), io::Error> { panic!("an attempt") }).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Cancelled, 0));
    assert!(error.last.is_none());
}

#[test]
fn a_cancelled_run_leaves_a_free_lock_alone() {
    let sandbox = Sandbox::new();
    let token = CancelToken::new().unwrap();
    token.cancel();
    let error =
        RetryPolicy::default().run().cancel_on(&token).acquire(&sandbox.lockfile()).unwrap_err();
    assert_eq!(error.reason, GaveUp::Cancelled);
    assert!(sandbox.names().is_empty());
}

#[test]
fn another_thread_ends_a_sleep() {
    be_cancelled_by_a_thread(&CancelToken::new().unwrap());
}

#[test]
fn the_hook_ends_the_sleep_that_it_announces() {
    let token = CancelToken::new().unwrap();
    assert_cancelled_in_its_sleep(&wait(&token, |_| token.cancel()));
}

#[test]
fn one_token_ends_many_waits() {
    let token = CancelToken::new().unwrap();
    let (waits, it_waits) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..8 {
            let (waits, token) = (waits.clone(), token.clone());
            scope.spawn(move || {
                assert_cancelled_in_its_sleep(&wait(&token, |_| waits.send(()).unwrap()));
            });
        }
        it_waits.iter().take(8).for_each(drop);
        token.cancel();
    });
}

#[test]
fn cancelling_again_does_nothing() {
    let token = CancelToken::new().unwrap();
    let (done, is_done) = mpsc::channel();
    let other = token.clone();
    thread::spawn(move || {
        // A byte each time would fill the pipe and block.
        (0..100_000).for_each(|_| other.cancel());
        done.send(()).unwrap();
    });
    is_done.recv_timeout(SOON).unwrap();
    assert!(token.is_cancelled());
    let error = RetryPolicy::default()
        .run()
        .cancel_on(&token)
        .call(|| Err::<(), _>(would_block()))
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Cancelled, 0));
}

#[test]
fn clones_share_one_state() {
    let token = CancelToken::new().unwrap();
    let other = token.clone();
    assert!(!token.is_cancelled() && !other.is_cancelled());
    other.cancel();
    assert!(token.is_cancelled() && other.is_cancelled());
    assert_eq!(format!("{token:?}"), "CancelToken { cancelled: true, .. }");
}

#[test]
fn the_descriptor_is_readable_once_the_token_is_cancelled() {
    let token = CancelToken::new().unwrap();
    assert!(!is_readable(&token));
    token.cancel();
    assert!(is_readable(&token));
    wait(&token, |_| ());
    assert!(is_readable(&token), "the wait took the byte");
}

#[test]
fn a_token_that_is_not_cancelled_does_not_end_a_run() {
    sleep_undisturbed(&CancelToken::new().unwrap(), Duration::from_millis(20));
}

#[test]
fn a_wait_without_a_lock_ends_with_its_time_or_its_token() {
    let token = CancelToken::new().unwrap();
    let (started, time) = (Instant::now(), Duration::from_millis(20));
    assert!(!token.wait_timeout(time));
    assert!(started.elapsed() >= time);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| token.wait_timeout(LONG));
        token.cancel();
        assert!(waiter.join().unwrap());
    });
    // A byte each time would fill the pipe and block.
    assert!((0..100_000).all(|_| token.wait_timeout(LONG)));
    assert!(started.elapsed() < SOON);
}
