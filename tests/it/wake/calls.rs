//! What a waiter does, system call by system call, and what can happen in between.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::libc;

use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, Sandbox, record_of, set_mode};
use crate::support::trace::{Call, Traced, require_traced};

/// A waiter that is about to fall asleep; `None` where tracing is forbidden.
pub fn falling_asleep(path: &Path) -> Option<Traced> {
    let mut traced = Traced::new(Peer::at(path))?;
    assert!(traced.run_to("wait", sleeps));
    Some(traced)
}

fn sleeps(call: &Call) -> bool {
    call.number == libc::SYS_ppoll
}

/// Whether this is the short sleep that listens only to the pidfd of the owner.
fn waits_for_the_end(call: &Call) -> bool {
    sleeps(call) && call.argument(1) == 1
}

/// What a waiter did from one sleep to the next, and how often.
#[derive(Debug, Default)]
pub struct Reaction {
    pub delays: usize,
    pub longest_delay: Duration,
    pub attempts: usize,
    pub watches: usize,
    pub unwatches: usize,
}

pub fn reaction(traced: &mut Traced) -> Reaction {
    let mut did = Reaction::default();
    assert!(traced.run_on_to(|call| {
        if call.number == libc::SYS_clock_nanosleep {
            did.delays += 1;
            did.longest_delay = did.longest_delay.max(call.timespec(2));
        }
        did.attempts += usize::from(call.number == libc::SYS_flock);
        did.watches += usize::from(call.number == libc::SYS_inotify_add_watch);
        did.unwatches += usize::from(call.number == libc::SYS_inotify_rm_watch);
        sleeps(call)
    }));
    did
}

#[test]
fn a_release_before_any_system_call_of_a_wait_is_not_missed() {
    not_missed(|owner| owner.must("unlock"));
}

#[test]
fn the_death_of_the_owner_before_any_system_call_of_a_wait_is_not_missed() {
    not_missed(Peer::kill);
}

fn not_missed(end: impl Fn(&mut Peer)) {
    let (mut watches, mut is_asleep) = (false, false);
    for nth in 0.. {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
        let mut index = 0;
        let reached = traced.run_to("wait", |call| {
            watches |= call.number == libc::SYS_inotify_add_watch;
            is_asleep = sleeps(call);
            index += 1;
            index == nth + 1
        });
        assert!(reached);
        end(&mut owner);
        assert_eq!(traced.go_on().answer(), "ok", "released before system call {nth}");
        if is_asleep {
            break;
        }
    }
    assert!(watches);
}

#[test]
fn a_release_under_a_waiter_that_slept_through_its_events_is_not_missed() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    // Just before the second attempt, with the watch on the first owner's file.
    let mut watches = false;
    assert!(traced.run_to("wait", |call| {
        watches |= call.number == libc::SYS_inotify_add_watch;
        watches && call.number == libc::SYS_flock
    }));
    owner.must("unlock");
    let mut next = Peer::holding(&sandbox.path());
    let mut waiter = traced.go_on();
    next.must("unlock");
    assert_eq!(waiter.answer(), "ok");
}

#[test]
fn a_release_by_the_next_owner_before_any_system_call_of_a_woken_waiter_is_not_missed() {
    not_missed_once_woken(|next| next.must("unlock"));
}

#[test]
fn the_death_of_the_next_owner_before_any_system_call_of_a_woken_waiter_is_not_missed() {
    not_missed_once_woken(Peer::kill);
}

/// The lock is released and taken again, which wakes the waiter; then it changes hands once more, and the
/// waiter must notice the third owner's release.
fn not_missed_once_woken(end: impl Fn(&mut Peer)) {
    for nth in 0.. {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let mut traced = require_traced!(falling_asleep(&sandbox.path()));
        owner.must("unlock");
        let mut next = Peer::holding(&sandbox.path());
        let (mut index, mut is_asleep) = (0, false);
        assert!(traced.run_on_to(|call| {
            is_asleep = sleeps(call);
            index += 1;
            index == nth + 1
        }));
        end(&mut next);
        owner.must("try_lock");
        let mut waiter = traced.go_on();
        owner.must("unlock");
        assert_eq!(waiter.answer(), "ok", "changed hands before system call {nth}");
        if is_asleep {
            break;
        }
    }
}

#[test]
fn an_owner_that_has_closed_its_file_gets_time_to_end_before_an_attempt() {
    // If the machine is so slow that the moment is over before it begins, the attempt comes at once.
    for _ in 0..20 {
        let sandbox = Sandbox::new();
        let owner = Bystander::new();
        sandbox.plant(record_of(owner.pid()));
        let file = File::options().write(true).open(sandbox.path()).unwrap();
        file.try_lock().unwrap();
        let mut traced = require_traced!(falling_asleep(&sandbox.path()));
        drop(file);
        let mut has_waited = false;
        assert!(traced.run_on_to(|call| {
            has_waited = waits_for_the_end(call);
            has_waited || call.number == libc::SYS_flock
        }));
        drop(owner);
        assert_eq!(traced.go_on().answer(), "ok");
        if has_waited {
            return;
        }
    }
    panic!("it always tried at once");
}

#[test]
fn a_kernel_lock_that_outlives_the_close_of_the_file_is_tried_again() {
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let open = || File::options().write(true).open(sandbox.path()).unwrap();
    let (owner, other) = (open(), open());
    owner.try_lock().unwrap();
    let mut traced = require_traced!(falling_asleep(&sandbox.path()));
    drop(other);
    assert!(traced.run_on_to(|call| call.number == libc::SYS_flock));
    assert!(traced.run_on_to(sleeps));
    // This raises no event.
    owner.unlock().unwrap();
    assert_eq!(traced.go_on().answer(), "ok");
}

#[test]
fn a_waiter_that_loses_again_and_again_lets_its_rivals_try_first() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut rival = Peer::at(&sandbox.path());
    let mut traced = require_traced!(falling_asleep(&sandbox.path()));
    let mut delays = Vec::new();
    for lost in 0..60 {
        owner.must("unlock");
        rival.must("try_lock");
        std::mem::swap(&mut owner, &mut rival);
        let did = reaction(&mut traced);
        assert_eq!((did.attempts, did.watches, did.unwatches), (1, 1, 1), "{did:?}");
        let most = 2_u32.saturating_pow(lost).saturating_sub(1).min(128);
        assert!(did.longest_delay <= most * Duration::from_micros(200), "{lost}: {did:?}");
        delays.push(did.delays);
    }
    assert_eq!(delays[0], 0, "{delays:?}");
    // On average three in four of 59. A result outside this range comes once in 100,000 times.
    let delays: usize = delays.iter().sum();
    assert!((20..=56).contains(&delays), "{delays}");
}

/// The test is about one second, and takes that long.
#[test]
fn after_a_second_without_events_a_waiter_tries_at_once() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    let mut traced = require_traced!(falling_asleep(&sandbox.path()));
    for _ in 0..9 {
        set_mode(&sandbox.path(), 0o600);
        reaction(&mut traced);
    }
    thread::sleep(Duration::from_millis(1001));
    set_mode(&sandbox.path(), 0o600);
    assert_eq!(reaction(&mut traced).delays, 0);
}

#[test]
fn the_end_of_an_owner_that_a_look_at_its_file_has_hidden_is_not_missed() {
    let sandbox = Sandbox::new();
    let owner = Bystander::new();
    sandbox.plant(record_of(owner.pid()));
    let mut traced = require_traced!(falling_asleep(&sandbox.path()));
    // It has seen the owner alive, and still holds the kernel lock with which it looked.
    let mut other = Traced::new(Peer::at(&sandbox.path())).unwrap();
    let unlock = libc::LOCK_UN as u64;
    let unlocks = |call: &Call| call.number == libc::SYS_flock && call.argument(1) == unlock;
    assert!(other.run_to("try_lock", unlocks));
    drop(owner);
    assert!(traced.run_on_to(|call| call.number == libc::SYS_flock));
    assert!(traced.run_on_to(|call| call.number == libc::SYS_clock_nanosleep || sleeps(call)));
    let mut other = other.go_on();
    assert!(other.answer().starts_with("Busy"));
    assert_eq!(traced.go_on().answer(), "ok");
}
