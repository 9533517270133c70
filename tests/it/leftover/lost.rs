//! An owner that has lost its descriptor or its record does no harm, and gets an error.

use std::fs;

use nix::libc;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, Sandbox, record_of};
use crate::support::trace::{Traced, require_traced};

/// A daemonizer closes all descriptors, and the program then opens others.
#[test]
fn an_owner_that_has_lost_its_descriptor_owns_nothing_and_is_told() {
    require_able!(Stamps);
    for lose in ["close_the_lock_file", "reuse_the_lock_files_descriptor"] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        owner.must(lose);
        owner.must_fail("verify", "LostDescriptor");
        sandbox.assert_free_and_clean();
        owner.must_fail("verify", "LostDescriptor");
        // It must not remove what another process has locked since.
        let mut successor = Peer::holding(&sandbox.path());
        owner.must_fail("verify", "LostDescriptor");
        successor.must("verify");
        successor.must("unlock");
    }
}

#[test]
fn a_release_after_the_descriptor_was_reused_removes_nothing() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("reuse_the_lock_files_descriptor");
    owner.must_fail("unlock", "LostDescriptor");
    assert_eq!(sandbox.record(), record_of(owner.pid()));
    let _successor = sandbox.lock();
}

/// The new file gets the number of the old descriptor, and on ext4 the old inode number, too. The old guard is
/// dropped when the new one takes its place, and must neither close nor remove the new file.
#[test]
fn an_owner_that_has_lost_its_descriptor_and_locks_anew_keeps_the_new_lock() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("close_the_lock_file");
    owner.must_fail("verify", "LostDescriptor");
    owner.must("try_lock");
    owner.must("verify");
    assert!(sandbox.lockfile().try_lock().unwrap_err().is_temporary());
    owner.must("unlock");
    sandbox.assert_free_and_clean();
}

/// A debug build of std aborts if a descriptor is closed twice.
#[test]
fn a_release_after_the_descriptor_was_closed_does_not_abort() {
    for release in ["unlock", "drop"] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        owner.must("close_the_lock_file");
        owner.ask(release);
        owner.must("try_lock");
    }
}

/// A script that saw the file empty writes its pid between our record and our stamp.
#[test]
fn an_owner_whose_record_was_overwritten_before_its_stamp_is_told() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let script = Bystander::new();
    let peer = Peer::without(&sandbox.path(), &["tmpfile"]);
    let traced = require_traced!(Traced::before(peer, "try_lock", libc::SYS_utimensat));
    fs::write(sandbox.path(), record_of(script.pid())).unwrap();
    let mut owner = traced.go_on();
    assert_eq!(owner.answer(), "ok");
    owner.must_fail("verify", "RogueDeletion");
    owner.must_fail("unlock", "RogueDeletion");
    assert_eq!(sandbox.record(), record_of(script.pid()));
}

#[test]
fn an_adopter_whose_record_was_overwritten_before_its_stamp_is_told() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let script = Bystander::new();
    let mut parent = Peer::holding(&sandbox.path());
    parent.must("fork");
    let mut traced = require_traced!(Traced::child_of(parent));
    assert!(traced.run_to("child adopt", |call| call.number == libc::SYS_utimensat));
    fs::write(sandbox.path(), record_of(script.pid())).unwrap();
    let mut parent = traced.go_on();
    assert_eq!(parent.answer(), "ok");
    parent.must_fail("child verify", "RogueDeletion");
    parent.must_fail("child unlock", "RogueDeletion");
    assert_eq!(sandbox.record(), record_of(script.pid()));
}
