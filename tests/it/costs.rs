//! What a lock costs in system calls and allocations: a count shows regressions that a time may hide.

use crate::support::allocations::allocations;
use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, DEAD_PID, Sandbox, record_of};
use crate::support::trace::{Traced, require_traced};

#[test]
fn a_cycle_allocates_nothing() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    assert_eq!(allocations(|| drop(lockfile.try_lock().unwrap())), 0);
    assert_eq!(allocations(|| lockfile.try_lock().unwrap().unlock().unwrap()), 0);
}

#[test]
fn taking_over_a_stale_file_allocates_nothing() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    sandbox.plant(record_of(DEAD_PID));
    assert_eq!(allocations(|| drop(lockfile.try_lock().unwrap())), 0);
}

#[test]
fn a_refused_attempt_allocates_the_path_in_its_error_and_nothing_else() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    let _guard = lockfile.try_lock().unwrap();
    assert_eq!(allocations(|| assert!(lockfile.try_lock().is_err())), 1);
}

#[test]
fn a_cycle_takes_at_most_13_system_calls() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    let lock = traced.calls("try_lock");
    let unlock = traced.calls("unlock");
    assert!(lock.len() + unlock.len() <= 13, "{lock:?} {unlock:?}");
}

#[test]
fn a_refused_attempt_takes_at_most_5_system_calls() {
    let sandbox = Sandbox::new();
    let _guard = sandbox.lock();
    let calls = require_traced!(Traced::new(Peer::at(&sandbox.path()))).calls("try_lock");
    assert!(calls.len() <= 5, "{calls:?}");
}

#[test]
fn a_refused_attempt_on_a_pid_only_owner_takes_at_most_14_system_calls() {
    let sandbox = Sandbox::new();
    let owner = Bystander::new();
    sandbox.plant(record_of(owner.pid()));
    let calls = require_traced!(Traced::new(Peer::at(&sandbox.path()))).calls("try_lock");
    assert!(calls.len() <= 14, "{calls:?}");
}

#[test]
fn taking_over_a_stale_file_takes_at_most_18_system_calls() {
    let sandbox = Sandbox::new();
    sandbox.plant(record_of(DEAD_PID));
    let calls = require_traced!(Traced::new(Peer::at(&sandbox.path()))).calls("try_lock");
    assert!(calls.len() <= 18, "{} {calls:?}", calls.len());
}
