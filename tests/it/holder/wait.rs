//! Signals to the holder, and waiting for its end.

use std::time::Duration;

use nix::sys::signal::Signal;
use pidlockfile::Holder;

use crate::support::peer::Peer;
use crate::support::sandbox::{OTHER_USER, Sandbox, holder, is_root, require};

const LONG: Option<Duration> = Some(Duration::from_secs(60));

#[test]
fn signals_reach_the_holder_and_a_wait_ends_with_it() {
    for number in [Signal::SIGTERM, Signal::SIGKILL] {
        let signal = match number {
            Signal::SIGTERM => Holder::terminate,
            _ => Holder::kill,
        };
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let holder = holder(&sandbox.lockfile());
        assert!(!holder.wait(Some(Duration::ZERO)).unwrap());
        signal(&holder).unwrap();
        assert!(holder.wait(LONG).unwrap());
        assert!(holder.wait(None).unwrap());
        // It has ended: as a zombie, and after its number was freed.
        signal(&holder).unwrap();
        assert_eq!(owner.end_by_signal(), Some(number as i32));
        signal(&holder).unwrap();
        assert!(sandbox.lockfile().holder().unwrap().is_none());
    }
}

#[test]
fn signals_do_not_end_a_wait() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    Peer::at(&sandbox.path()).must("wait_among_signals");
}

#[test]
fn another_users_process_may_not_be_signalled_and_the_error_says_so() {
    require!(is_root(), "needs root, to become another user");
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut asker = Peer::at(&sandbox.path());
    let answer = asker.ask(&format!("signal_after_becoming {OTHER_USER}"));
    assert!(answer.starts_with("Io { action: \"signal the holder of\""), "{answer}");
    owner.must("verify");
}

#[test]
fn the_pidfd_tells_a_poll_loop_that_the_holder_has_ended() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let mut polled = [PollFd::new(holder.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut polled, PollTimeout::ZERO), Ok(0));
    owner.kill();
    assert_eq!(poll(&mut polled, PollTimeout::NONE), Ok(1));
}

#[cfg(feature = "retry")]
#[test]
fn a_cancelled_token_ends_a_wait() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let token = pidlockfile::retry::CancelToken::new().unwrap();
    assert!(!holder.wait_or_cancelled(Some(Duration::from_millis(1)), &token).unwrap());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| holder.wait_or_cancelled(None, &token));
        token.cancel();
        assert!(!waits.join().unwrap().unwrap());
    });
    assert!(!holder.wait_or_cancelled(None, &token).unwrap());
    owner.kill();
    assert!(holder.wait_or_cancelled(LONG, &token).unwrap(), "it has ended, cancelled or not");
    let fresh = pidlockfile::retry::CancelToken::new().unwrap();
    assert!(holder.wait_or_cancelled(None, &fresh).unwrap());
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_wait_needs_no_driver_of_the_runtime() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let limit = Duration::from_millis(20);
    let started = std::time::Instant::now();
    assert!(!runtime.block_on(holder.wait_async(Some(limit))).unwrap());
    assert!(started.elapsed() >= limit);
    // A dropped wait keeps no thread that the end of the runtime would wait for.
    runtime.block_on(async {
        let mut wait = std::pin::pin!(holder.wait_async(None));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(wait.as_mut().poll(context).is_pending())
        });
        // The future is pinned outside `select!`, and so dropped with this block.
        assert!(polled.await);
    });
    runtime.block_on(async {
        owner.kill();
        assert!(holder.wait_async(None).await.unwrap());
    });
    drop(runtime);
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_wait_outside_a_runtime_is_an_error_and_no_panic() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut wait = std::pin::pin!(holder.wait_async(None));
    let std::task::Poll::Ready(Err(error)) = wait.as_mut().poll(&mut context) else {
        panic!("it waits for nobody");
    };
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("no reactor running"), "{text}");
}
