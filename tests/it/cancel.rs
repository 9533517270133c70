//! Ending a wait from outside. What concerns the process as a whole runs in one of its own.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use pidlockfile::retry::{Attempt, CancelToken, GaveUp, RetryError, RetryPolicy};

use crate::peer::Peer;
use crate::sandbox::Sandbox;
use crate::support::process::{forked, must_end_well, must_succeed, this_binary_again};
use crate::support::program::Program;
use crate::support::waiting::{LONG, SOON, quickest_end, sleep_undisturbed, would_block};
use crate::trace::{Traced, require_traced};

/// Waits for what never comes, in a single long sleep, unless `token` ends it.
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

/// Is cancelled by another thread in the middle of a wait, and notices.
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
fn a_token_that_is_not_cancelled_lets_the_run_come_to_its_end() {
    sleep_undisturbed(&CancelToken::new().unwrap(), Duration::from_millis(20));
}

#[test]
fn a_token_can_be_shared_between_threads() {
    fn check<T: Clone + std::fmt::Debug + Send + Sync + 'static>() {}
    check::<CancelToken>();
}

#[test]
fn a_sigterm_handler_ends_a_sleep() {
    let mut waiter =
        Program::start(&mut this_binary_again("cancel::waiter_with_a_sigterm_handler"));
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
    must_succeed("cancel::waiter_that_raises_sigterm");
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
    must_succeed("cancel::waiter_that_is_interrupted");
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
            // It fails once the thread has ended, which is seen above.
            let _ = pthread_kill(id, Signal::SIGUSR1);
            thread::yield_now();
        }
        waiter.join().unwrap();
    });
}

#[test]
fn a_forked_child_and_its_parent_do_not_cancel_each_other() {
    must_succeed("cancel::parent_and_child_cancel");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn parent_and_child_cancel() {
    let token = CancelToken::new().unwrap();
    must_end_well(forked(|| {
        be_cancelled_by_a_thread(&token);
        assert!(is_readable(&token));
    }));
    assert!(!token.is_cancelled());
    assert!(!is_readable(&token), "the parent would spin");
    sleep_undisturbed(&token, Duration::from_millis(20));

    let (mut parents_word, mut child_hears) = (None, None);
    let (reader, writer) = io::pipe().unwrap();
    child_hears.replace(reader);
    parents_word.replace(writer);
    let child = forked(|| {
        drop(parents_word.take());
        // The end of the pipe means that the parent has cancelled.
        child_hears.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        assert!(!token.is_cancelled());
        assert!(!is_readable(&token), "the child would spin");
        sleep_undisturbed(&token, Duration::from_millis(20));
        be_cancelled_by_a_thread(&token);
    });
    token.cancel();
    drop(parents_word.take());
    must_end_well(child);
    assert!(is_readable(&token));
}

#[test]
fn a_child_forked_by_a_cancelled_process_is_cancelled() {
    must_succeed("cancel::cancelled_parent");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn cancelled_parent() {
    let token = CancelToken::new().unwrap();
    token.cancel();
    must_end_well(forked(|| {
        assert!(token.is_cancelled());
        assert!(is_readable(&token));
        assert_eq!(wait(&token, |_| ()).attempts, 0);
    }));
}

#[test]
fn a_child_that_cancels_before_it_waits_finds_its_descriptor_readable() {
    must_succeed("cancel::child_cancels_before_it_waits");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn child_cancels_before_it_waits() {
    let token = CancelToken::new().unwrap();
    must_end_well(forked(|| {
        token.cancel();
        assert!(is_readable(&token));
    }));
    assert!(!is_readable(&token));
}

#[test]
fn a_grandchild_has_a_token_of_its_own_too() {
    must_succeed("cancel::grandparent");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn grandparent() {
    let token = CancelToken::new().unwrap();
    must_end_well(forked(|| {
        sleep_undisturbed(&token, Duration::from_millis(1));
        must_end_well(forked(|| be_cancelled_by_a_thread(&token)));
        assert!(!token.is_cancelled() && !is_readable(&token));
        be_cancelled_by_a_thread(&token);
    }));
    assert!(!token.is_cancelled() && !is_readable(&token));
}

#[test]
fn without_descriptors_there_is_no_token_but_a_forked_child_can_be_cancelled() {
    must_succeed("cancel::no_descriptors");
}

#[test]
#[ignore = "not a test: a process without file descriptors"]
fn no_descriptors() {
    let token = CancelToken::new().unwrap();
    // A new descriptor gets the lowest free number, so all below it are taken.
    let limit = io::stdin().as_fd().try_clone_to_owned().unwrap().as_raw_fd().try_into().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
    assert_eq!(CancelToken::new().unwrap_err().raw_os_error(), Some(libc::EMFILE));
    must_end_well(forked(|| be_cancelled_by_a_thread(&token)));
    assert!(!is_readable(&token));
    be_cancelled_by_a_thread(&token);
}

#[test]
fn a_chain_of_forks_that_all_wait_keeps_no_descriptors_of_the_dead() {
    must_succeed("cancel::generations");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn generations() {
    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }
    fn descend(token: &CancelToken, left: u32, limit: usize) {
        assert!(!token.wait_timeout(Duration::from_millis(1)));
        assert!(descriptors() <= limit, "{left} generations before the last");
        if left > 0 {
            must_end_well(forked(|| descend(token, left - 1, limit)));
        } else {
            be_cancelled_by_a_thread(token);
        }
    }
    let token = CancelToken::new().unwrap();
    // The first generation's, for it is lent, and one's own.
    let limit = descriptors() + 2;
    descend(&token, 40, limit);
    assert!(!token.is_cancelled());
}

#[test]
fn a_chain_of_forks_that_all_poll_can_each_be_cancelled() {
    must_succeed("cancel::polling_generations");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn polling_generations() {
    fn descend(token: &CancelToken, left: u32) {
        assert!(!is_readable(token));
        if left > 0 {
            must_end_well(forked(|| descend(token, left - 1)));
        }
        token.cancel();
        assert!(is_readable(token), "{left}");
    }
    let token = CancelToken::new().unwrap();
    must_end_well(forked(|| descend(&token, 10)));
    assert!(!is_readable(&token));
}

#[test]
fn a_child_forked_while_other_threads_make_their_alarm_is_not_stuck() {
    must_succeed("cancel::forks_beside_waits");
}

#[test]
#[ignore = "not a test: a process that forks"]
fn forks_beside_waits() {
    for _ in 0..200 {
        let token = CancelToken::new().unwrap();
        let child = forked(|| {
            thread::scope(|scope| {
                // The first to ask in this process makes the alarm.
                let asking = [(); 3].map(|()| scope.spawn(|| is_readable(&token)));
                let grandchild = forked(|| {
                    assert!(!token.wait_timeout(Duration::from_millis(1)));
                    assert!(!is_readable(&token));
                });
                must_end_well(grandchild);
                assert!(asking.into_iter().all(|thread| !thread.join().unwrap()));
            });
        });
        must_end_well(child);
    }
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
