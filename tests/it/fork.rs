//! A forked child has a copy of the guard, and the lock belongs to its parent until the child adopts it.

use nix::libc;
use pidlockfile::Error;

use crate::support::peer::Peer;
use crate::support::process::Survivor;
use crate::support::sandbox::{Sandbox, record_of};
use crate::support::trace::{Traced, require_traced};

/// An owner that has forked, its sandbox, and the child's pid.
fn forked_owner() -> (Sandbox, Peer, u32) {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("fork");
    let child = owner.ask("child pid").parse().unwrap();
    assert_ne!(child, owner.pid());
    (sandbox, owner, child)
}

fn assert_busy(sandbox: &Sandbox, owner: u32) {
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid, kernel_locked: true, .. }) => assert_eq!(pid, Some(owner)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guard_dropped_in_a_forked_child_frees_nothing() {
    let (sandbox, mut owner, _) = forked_owner();
    owner.must("child drop");
    assert_eq!(sandbox.record(), record_of(owner.pid()));
    assert_busy(&sandbox, owner.pid());
    owner.must("end_child");
    assert_busy(&sandbox, owner.pid());
    owner.must("verify");
    owner.must("unlock");
    sandbox.assert_free_and_clean();
}

#[test]
fn unlock_and_verify_in_a_forked_child_say_that_it_must_adopt_first() {
    let (sandbox, mut owner, _) = forked_owner();
    owner.must_fail("child verify", "NotAdopted");
    owner.must_fail("child unlock", "NotAdopted");
    assert_busy(&sandbox, owner.pid());
    owner.must("unlock");
    sandbox.assert_free_and_clean();
}

#[test]
fn a_forked_child_that_outlives_its_killed_parent_keeps_the_kernel_lock() {
    let (sandbox, mut owner, child) = forked_owner();
    let child = Survivor(child);
    owner.must("child stay");
    owner.kill();
    assert_busy(&sandbox, owner.pid());
    drop(child);
    sandbox.assert_free_and_clean();
}

#[test]
fn a_released_lock_is_free_although_a_forked_child_has_a_copy() {
    let (sandbox, mut owner, _) = forked_owner();
    owner.must("unlock");
    sandbox.assert_free_and_clean();
    owner.must("child drop");
    sandbox.assert_free_and_clean();
}

#[test]
fn a_child_that_adopts_is_the_owner_and_its_parent_removes_nothing() {
    for (release, answer) in [("drop", "ok"), ("unlock", "RogueDeletion {")] {
        let (sandbox, mut parent, child) = forked_owner();
        parent.must("child adopt");
        assert_eq!(sandbox.record(), record_of(child));
        assert_eq!(sandbox.lockfile().owner().unwrap(), Some(child));
        assert!(parent.ask(release).starts_with(answer));
        assert_busy(&sandbox, child);
        parent.must("child verify");
        parent.must("child unlock");
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn a_parent_learns_from_verify_that_its_child_adopted() {
    let (sandbox, mut parent, child) = forked_owner();
    parent.must("child adopt");
    parent.must_fail("verify", "RogueDeletion");
    assert_busy(&sandbox, child);
}

#[test]
fn a_daemon_that_forks_twice_keeps_its_lock() {
    let (sandbox, mut parent, _) = forked_owner();
    parent.must("child fork");
    let grandchild = Survivor(parent.ask("child child pid").parse().unwrap());
    parent.must("child child adopt");
    parent.must("child child stay");
    parent.must("end_child");
    assert!(parent.end().success());
    assert_busy(&sandbox, grandchild.0);
    assert_eq!(sandbox.record(), record_of(grandchild.0));
    drop(grandchild);
    sandbox.assert_free_and_clean();
}

#[test]
fn adopt_in_the_owner_itself_changes_nothing() {
    let sandbox = Sandbox::new();
    let mut guard = sandbox.lock();
    guard.adopt().unwrap();
    assert_eq!(sandbox.record(), record_of(std::process::id()));
    guard.unlock().unwrap();
}

/// A shorter record over a longer one would show a third pid.
#[test]
fn an_adopting_child_empties_the_record_before_it_writes_its_own() {
    let (sandbox, owner, child) = forked_owner();
    let mut traced = require_traced!(Traced::child_of(owner));
    assert!(traced.run_to("child adopt", |call| call.number == libc::SYS_pwrite64));
    assert_eq!(sandbox.record(), "");
    let calls = traced.rest_of_calls();
    assert_eq!(sandbox.record(), record_of(child));
    assert!(!calls.contains(&libc::SYS_pwrite64), "in one call: {calls:?}");
    let mut owner = traced.kill_child();
    owner.kill();
    sandbox.assert_free_and_clean();
}
