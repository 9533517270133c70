//! Two users and one lock: each recipe in the docs of `Lockfile::mode`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{DEAD_PID, Sandbox, is_root, record_of, require, set_mode};
use crate::support::trace::{Traced, require_traced};

mod denied;

const ALICE: u32 = 65534;
const BOB: u32 = 65533;
const GROUP: u32 = 65532;

fn peer_of(user: u32, path: &Path, mode: &str) -> Peer {
    let mut peer = Peer::at(path);
    peer.must(&format!("become {user} {GROUP}"));
    peer.must(&format!("mode {mode}"));
    peer
}

/// A sandbox whose directory has this mode and the shared group.
fn shared(mode: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    chown(sandbox.dir(), None, Some(GROUP)).unwrap();
    set_mode(sandbox.dir(), mode);
    sandbox
}

fn owner_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

/// The two users lock in turn, are killed most of the time, and get the lock at once each time.
fn take_turns(sandbox: &Sandbox, mode: &str, turns: usize) {
    for turn in 0..turns {
        let user = [ALICE, BOB][turn % 2];
        let mut peer = peer_of(user, &sandbox.path(), mode);
        peer.must("try_lock");
        assert_eq!(sandbox.record(), record_of(peer.pid()), "turn {turn}");
        peer.must("verify");
        match turn % 10 {
            8 => peer.must("unlock"),
            9 => peer.must("drop"),
            _ => peer.kill(),
        }
    }
}

/// `TORTURE_SECONDS` asks for the long form.
fn turns() -> usize {
    if std::env::var_os("TORTURE_SECONDS").is_some() { 1000 } else { 100 }
}

#[test]
fn in_a_sticky_directory_everybody_takes_over_the_file_of_a_killed_owner() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    take_turns(&shared(0o1777), "666", turns());
}

#[test]
fn in_a_sticky_directory_a_group_takes_over_the_file_of_a_killed_owner() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    take_turns(&shared(0o3775), "660", turns());
}

#[test]
fn in_a_setgid_directory_a_group_replaces_the_file_of_a_killed_owner() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    for mode in ["640", "660"] {
        take_turns(&shared(0o2775), mode, 20);
    }
}

#[test]
fn a_release_after_a_takeover_in_place_empties_the_file_and_is_no_error() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    for release in ["unlock", "drop"] {
        let sandbox = shared(0o1777);
        peer_of(ALICE, &sandbox.path(), "666").must("try_lock");
        let mut bob = peer_of(BOB, &sandbox.path(), "666");
        bob.must("try_lock");
        bob.must(release);
        assert_eq!((sandbox.record().as_str(), owner_of(&sandbox.path())), ("", ALICE));
        // The next owner need not be root or Alice.
        peer_of(BOB, &sandbox.path(), "666").must("try_lock");
        let mut alice = peer_of(ALICE, &sandbox.path(), "666");
        alice.must("try_lock");
        alice.must("unlock");
        assert_eq!(sandbox.names(), Vec::<String>::new());
    }
}

#[test]
fn an_owner_in_place_keeps_all_others_out() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    let sandbox = shared(0o1777);
    peer_of(ALICE, &sandbox.path(), "666").must("try_lock");
    let mut bob = peer_of(BOB, &sandbox.path(), "666");
    bob.must("try_lock");
    for user in [ALICE, BOB] {
        let answer = peer_of(user, &sandbox.path(), "666").ask("try_lock");
        assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: true"), "{answer}");
        assert!(answer.contains(&format!("Some({})", bob.pid())), "{answer}");
    }
    bob.must("fork");
    bob.must("child adopt");
    bob.must("child verify");
    bob.must("child unlock");
    assert_eq!(sandbox.record(), "");
}

/// A sticky directory with a file that a killed owner, Alice, has left, and Bob stopped before a system call of
/// his attempt; `None` if he makes fewer calls.
fn bob_stopped_in_a_takeover(nth: usize) -> Option<(Sandbox, Traced)> {
    let sandbox = shared(0o1777);
    peer_of(ALICE, &sandbox.path(), "666").must("try_lock");
    let mut bob = Traced::new(peer_of(BOB, &sandbox.path(), "666"))?;
    bob.run_to_nth("try_lock", nth).then_some((sandbox, bob))
}

#[test]
fn exactly_one_of_two_takeovers_in_place_at_once_gets_the_lock() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    drop(require_traced!(bob_stopped_in_a_takeover(0)));
    for rival in [ALICE, BOB] {
        let mut nth = 0;
        while let Some((sandbox, bob)) = bob_stopped_in_a_takeover(nth) {
            let mut rival = peer_of(rival, &sandbox.path(), "666");
            let first = rival.ask("try_lock");
            let mut bob = bob.go_on();
            let second = bob.answer();
            match (first.as_str(), second.as_str()) {
                ("ok", busy) | (busy, "ok") => assert!(busy.starts_with("Busy {"), "{nth}: {busy}"),
                neither => panic!("before call {nth}: {neither:?}"),
            }
            let owner = if first == "ok" { &mut rival } else { &mut bob };
            owner.must("verify");
            assert_eq!(sandbox.record(), record_of(owner.pid()), "before call {nth}");
            nth += 1;
        }
        assert!(nth > 15, "only {nth} system calls were seen");
    }
}

#[test]
fn sigkill_before_any_system_call_of_a_takeover_in_place_leaves_the_lock_free() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    drop(require_traced!(bob_stopped_in_a_takeover(0)));
    let mut nth = 0;
    while let Some((sandbox, mut bob)) = bob_stopped_in_a_takeover(nth) {
        bob.peer.kill();
        for user in [BOB, ALICE] {
            let mut next = peer_of(user, &sandbox.path(), "666");
            next.must("try_lock");
            next.must("unlock");
        }
        assert_eq!(sandbox.names(), Vec::<String>::new(), "killed before call {nth}");
        nth += 1;
    }
    assert!(nth > 15, "only {nth} system calls were seen");
}

#[test]
fn sigkill_before_any_system_call_of_a_release_in_place_leaves_the_lock_free() {
    require!(is_root(), "needs root, to become two users");
    require_able!(Users);
    for nth in 0.. {
        let sandbox = shared(0o1777);
        peer_of(ALICE, &sandbox.path(), "666").must("try_lock");
        let mut bob = peer_of(BOB, &sandbox.path(), "666");
        bob.must("try_lock");
        let mut bob = require_traced!(Traced::new(bob));
        if !bob.run_to_nth("unlock", nth) {
            assert!(nth >= 6, "only {nth} system calls were seen");
            break;
        }
        bob.peer.kill();
        peer_of(BOB, &sandbox.path(), "666").must("try_lock");
    }
}

#[test]
fn a_file_made_for_a_user_in_a_directory_that_it_may_not_write_is_taken_over_in_place() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = Sandbox::new();
    sandbox.plant("");
    chown(sandbox.path(), Some(ALICE), Some(GROUP)).unwrap();
    set_mode(&sandbox.path(), 0o644);
    let mut alice = peer_of(ALICE, &sandbox.path(), "644");
    alice.must("try_lock");
    assert_eq!(sandbox.record(), record_of(alice.pid()));
    alice.must("unlock");
    assert_eq!(sandbox.record(), "");
}

/// The link may be somebody's data, planted where a lock file is expected.
#[test]
fn a_file_with_a_second_name_is_not_written() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = shared(0o1777);
    sandbox.plant(record_of(DEAD_PID));
    set_mode(&sandbox.path(), 0o666);
    fs::hard_link(sandbox.path(), sandbox.dir().join("data")).unwrap();
    let answer = peer_of(BOB, &sandbox.path(), "666").ask("try_lock");
    assert!(answer.starts_with("Unremovable {"), "{answer}");
    assert_eq!(sandbox.record(), record_of(DEAD_PID));
}

#[test]
fn a_live_owner_without_a_kernel_lock_is_not_taken_over_in_place() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = shared(0o1777);
    let owner = crate::support::sandbox::Bystander::new();
    sandbox.plant(record_of(owner.pid()));
    set_mode(&sandbox.path(), 0o666);
    let answer = peer_of(BOB, &sandbox.path(), "666").ask("try_lock");
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: false"), "{answer}");
    assert_eq!(sandbox.record(), record_of(owner.pid()));
}

#[test]
fn data_in_a_sticky_directory_is_not_written() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = shared(0o1777);
    sandbox.plant("everybody may write this data\n");
    set_mode(&sandbox.path(), 0o666);
    let answer = peer_of(BOB, &sandbox.path(), "666").ask("try_lock");
    assert!(answer.starts_with("NotAPidFile {"), "{answer}");
    assert_eq!(sandbox.record(), "everybody may write this data\n");
}
