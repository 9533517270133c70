//! A forked child has its own token. Each test runs in its own process.

use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;
use std::{fs, io, thread};

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use pidlockfile::retry::CancelToken;

use crate::cancel::{be_cancelled_by_a_thread, is_readable, wait};
use crate::support::process::{forked, must_end_well, must_succeed};
use crate::support::waiting::sleep_undisturbed;

#[test]
fn a_forked_child_and_its_parent_do_not_cancel_each_other() {
    must_succeed("cancel::forks::parent_and_child_cancel");
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
    must_succeed("cancel::forks::cancelled_parent");
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
    must_succeed("cancel::forks::child_cancels_before_it_waits");
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
    must_succeed("cancel::forks::grandparent");
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
    must_succeed("cancel::forks::no_descriptors");
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
fn a_chain_of_waiting_forks_keeps_no_descriptors_of_ended_ones() {
    must_succeed("cancel::forks::generations");
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
    // The first generation's, which it lends, and our own.
    let limit = descriptors() + 2;
    descend(&token, 40, limit);
    assert!(!token.is_cancelled());
}

#[test]
fn each_process_in_a_chain_of_polling_forks_can_be_cancelled() {
    must_succeed("cancel::forks::polling_generations");
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
    must_succeed("cancel::forks::forks_beside_waits");
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
