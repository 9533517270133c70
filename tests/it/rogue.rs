//! Somebody changes the file while we hold the lock: we detect it, and leave their file alone.

use std::fs;

use pidlockfile::Error;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{
    DEAD_PID, OTHER_USER, Sandbox, is_root, record_of, require, set_mode,
};

fn assert_rogue(sandbox: &Sandbox, result: Result<(), Error>) {
    match result {
        Err(Error::RogueDeletion { path }) => assert_eq!(path, sandbox.path()),
        other => panic!("{other:?}"),
    }
}

/// An outsider's action, and the content of the file afterwards.
type Meddling = (fn(&Sandbox), Option<&'static str>);

const MEDDLING: [Meddling; 6] = [
    (|sandbox| fs::remove_file(sandbox.path()).unwrap(), None),
    (|sandbox| fs::rename(sandbox.path(), sandbox.dir().join("elsewhere")).unwrap(), None),
    (|sandbox| sandbox.plant("1\n"), Some("1\n")),
    (|sandbox| sandbox.plant(""), Some("")),
    (|sandbox| sandbox.plant("garbage"), Some("garbage")),
    (
        |sandbox| {
            let other = sandbox.dir().join("other");
            fs::write(&other, record_of(std::process::id())).unwrap();
            fs::rename(other, sandbox.path()).unwrap();
        },
        Some("same record, other file"),
    ),
];

fn assert_content(sandbox: &Sandbox, expected: Option<&str>) {
    match expected {
        None => assert!(!sandbox.path().exists()),
        Some("same record, other file") => {
            assert_eq!(sandbox.record(), record_of(std::process::id()));
        }
        Some(content) => assert_eq!(sandbox.record(), content),
    }
}

#[test]
fn verify_reports_meddling_and_nothing_else() {
    for (meddle, expected) in MEDDLING {
        let sandbox = Sandbox::new();
        let guard = sandbox.lock();
        guard.verify().unwrap();
        meddle(&sandbox);
        assert_rogue(&sandbox, guard.verify());
        drop(guard);
        assert_content(&sandbox, expected);
    }
}

#[test]
fn unlock_after_meddling_reports_it_and_leaves_the_file() {
    for (meddle, expected) in MEDDLING {
        let sandbox = Sandbox::new();
        let guard = sandbox.lock();
        meddle(&sandbox);
        assert_rogue(&sandbox, guard.unlock());
        assert_content(&sandbox, expected);
    }
}

#[test]
fn adopt_after_meddling_reports_it_and_leaves_the_file() {
    for (meddle, expected) in MEDDLING {
        let sandbox = Sandbox::new();
        let mut guard = sandbox.lock();
        meddle(&sandbox);
        assert_rogue(&sandbox, guard.adopt());
        assert_content(&sandbox, expected);
    }
}

#[test]
fn a_lock_that_another_process_took_after_an_rm_is_left_alone() {
    let sandbox = Sandbox::new();
    let guard = sandbox.lock();
    fs::remove_file(sandbox.path()).unwrap();
    let mut successor = Peer::holding(&sandbox.path());
    assert_rogue(&sandbox, guard.unlock());
    successor.must("verify");
    assert_eq!(sandbox.record(), record_of(successor.pid()));
}

#[test]
fn a_file_of_a_dead_process_in_our_place_is_left_for_the_next_to_judge() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    sandbox.plant(record_of(DEAD_PID));
    owner.must_fail("unlock", "RogueDeletion");
    sandbox.assert_free_and_clean();
}

#[test]
fn dropped_privileges_leave_an_empty_file_that_others_take_over_while_we_live() {
    require!(is_root(), "needs root, to drop privileges");
    require_able!(Users);
    for release in ["unlock", "drop"] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        owner.must(&format!("become {OTHER_USER}"));
        match release {
            "unlock" => {
                let answer = owner.ask("unlock");
                assert!(answer.starts_with("Io { action: \"remove\""), "{answer}");
            }
            _ => owner.must("drop"),
        }
        assert_eq!(sandbox.record(), "");
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn a_directory_that_was_closed_to_us_leaves_an_empty_file() {
    require!(is_root(), "needs root, to drop privileges");
    require_able!(Users);
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    set_mode(sandbox.dir(), 0o700);
    owner.must(&format!("become {OTHER_USER}"));
    let answer = owner.ask("unlock");
    assert!(answer.starts_with("Io { action: \"examine\""), "{answer}");
    assert_eq!(sandbox.record(), "");
    sandbox.assert_free_and_clean();
}
