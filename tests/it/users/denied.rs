//! The errors of a user when another user is in the way.

use crate::support::ability::require_able;
use crate::support::sandbox::{Sandbox, is_root, require, set_mode};
use crate::users::{ALICE, BOB, peer_of, shared};

#[test]
fn a_stale_file_that_may_neither_be_removed_nor_written_names_its_owner() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    let sandbox = shared(0o1777);
    peer_of(ALICE, &sandbox.path(), "644").must("try_lock");
    let before = sandbox.record();
    let mut bob = peer_of(BOB, &sandbox.path(), "644");
    let text = bob.ask("text try_lock");
    assert!(text.contains(&format!("belongs to uid {ALICE}")) && text.contains("mode"), "{text}");
    bob.must_fail("try_lock", "Unremovable");
    assert_eq!(bob.ask("is_temporary"), "false");
    assert_eq!(sandbox.record(), before);
}

#[test]
fn a_file_that_may_not_be_read_is_temporary_and_names_its_owner() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    let sandbox = shared(0o1777);
    let mut alice = peer_of(ALICE, &sandbox.path(), "600");
    alice.must("try_lock");
    let mut bob = peer_of(BOB, &sandbox.path(), "600");
    let text = bob.ask("text try_lock");
    assert!(text.contains(&format!("belongs to uid {ALICE}")) && text.contains("mode"), "{text}");
    bob.must_fail("try_lock", "Unreadable");
    assert_eq!(bob.ask("is_temporary"), "true");
    bob.must_fail("owner", "Unreadable");
    alice.must("unlock");
    bob.must("try_lock");
}

#[test]
fn a_directory_that_may_not_be_searched_is_a_permanent_error() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = Sandbox::new();
    sandbox.plant("");
    set_mode(sandbox.dir(), 0o700);
    let answer = peer_of(BOB, &sandbox.path(), "600").ask("try_lock");
    assert!(answer.starts_with("Io { action: \"open\""), "{answer}");
    assert!(answer.contains("PermissionDenied"), "{answer}");
}
