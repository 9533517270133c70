//! A signal ends a wait only if its handler cancels the token. Each test runs in its own process.

use std::io::Write as _;
use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use nix::libc;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;
use pidlockfile::retry::CancelToken;

use crate::cancel::{assert_cancelled_in_its_sleep, wait};
use crate::support::process::{must_succeed, this_binary_again};
use crate::support::program::Program;
use crate::support::waiting::sleep_undisturbed;

#[test]
fn a_sigterm_handler_ends_a_sleep() {
    let mut waiter =
        Program::start(&mut this_binary_again("cancel::signals::waiter_with_a_sigterm_handler"));
    while !waiter.line().ends_with("waiting") {}
    waiter.signal(Signal::SIGTERM);
    let (status, printed, _) = waiter.end();
    assert!(status.success() && printed.concat().contains("1 passed"), "{status:?} {printed:?}");
}

#[test]
#[ignore = "not a test: a process that waits"]
fn waiter_with_a_sigterm_handler() {
    let token = CancelToken::new().unwrap();
    let handler = token.clone();
    // SAFETY: `cancel` is async-signal-safe.
    unsafe { signal_hook::low_level::register(libc::SIGTERM, move || handler.cancel()) }.unwrap();
    assert_cancelled_in_its_sleep(&wait(&token, |_| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(b"waiting\n").unwrap();
        stdout.flush().unwrap();
    }));
}

#[test]
fn a_signal_handler_that_runs_in_the_waiting_thread_ends_its_sleep() {
    must_succeed("cancel::signals::waiter_that_raises_sigterm");
}

#[test]
#[ignore = "not a test: a process that waits"]
fn waiter_that_raises_sigterm() {
    let token = CancelToken::new().unwrap();
    let handler = token.clone();
    // SAFETY: `cancel` is async-signal-safe.
    unsafe { signal_hook::low_level::register(libc::SIGTERM, move || handler.cancel()) }.unwrap();
    let error = wait(&token, |_| signal_hook::low_level::raise(libc::SIGTERM).unwrap());
    assert_cancelled_in_its_sleep(&error);
}

#[test]
fn a_signal_that_does_not_cancel_does_not_end_a_sleep() {
    must_succeed("cancel::signals::waiter_that_is_interrupted");
}

#[test]
#[ignore = "not a test: a process that waits"]
fn waiter_that_is_interrupted() {
    // SAFETY: the handler does nothing.
    unsafe { signal_hook::low_level::register(libc::SIGUSR1, || ()) }.unwrap();
    let token = CancelToken::new().unwrap();
    thread::scope(|scope| {
        let (waits, it_waits) = mpsc::channel();
        let token = &token;
        let waiter = scope.spawn(move || {
            waits.send(pthread_self()).unwrap();
            sleep_undisturbed(token, Duration::from_millis(50));
        });
        let id = it_waits.recv().unwrap();
        while !waiter.is_finished() {
            // It fails once the thread has ended, as checked above.
            let _ = pthread_kill(id, Signal::SIGUSR1);
            thread::yield_now();
        }
        waiter.join().unwrap();
    });
}
