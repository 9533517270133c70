//! Where `O_TMPFILE`, /proc or a no-clobber rename is missing, the lock works all the same.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use crate::peer::Peer;
use crate::sandbox::{Bystander, DEAD_PID, Sandbox, is_root, record_of, require};
use crate::schedule::PUBLISHING;
use crate::trace::Traced;

const LEFTOVER: &str = ".pidlockfile-aB3dE6gH";

#[test]
fn every_way_of_publishing_gives_a_lock_and_leaves_nothing() {
    for refused in PUBLISHING {
        let sandbox = Sandbox::new();
        let mut owner = Peer::at(&sandbox.path());
        for call in *refused {
            owner.must(&format!("refuse {call}"));
        }
        owner.must("try_lock");
        assert_eq!(sandbox.names(), ["test.pid"], "{refused:?}");
        assert_eq!(sandbox.record(), record_of(owner.pid()));
        assert!(sandbox.lockfile().try_lock().is_err(), "{refused:?}");
        owner.must("unlock");
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn each_way_of_publishing_is_really_taken() {
    use nix::libc::{SYS_linkat, SYS_renameat2};
    let ways = [vec![SYS_linkat], vec![SYS_linkat, SYS_linkat], vec![SYS_renameat2]];
    for (refused, way) in PUBLISHING.iter().zip(ways) {
        let sandbox = Sandbox::new();
        let mut peer = Peer::at(&sandbox.path());
        for call in *refused {
            peer.must(&format!("refuse {call}"));
        }
        let traced = Traced::new(peer);
        require!(traced.is_some(), "tracing is forbidden");
        let mut calls = traced.unwrap().calls("try_lock");
        calls.retain(|call| [SYS_linkat, SYS_renameat2].contains(call));
        assert_eq!(calls, way, "{refused:?}");
    }
}

#[test]
fn a_process_without_proc_can_lock() {
    require!(is_root(), "needs root, to hide /proc");
    let sandbox = Sandbox::new();
    let mut owner = Peer::at(&sandbox.path());
    owner.must("hide_proc");
    owner.must("refuse link_by_empty_path");
    owner.must("try_lock");
    assert_eq!(sandbox.names(), ["test.pid"]);
    owner.must("unlock");
    sandbox.assert_free_and_clean();
}

/// A peer that publishes through a named temporary.
fn peer_without_tmpfile(sandbox: &Sandbox) -> Peer {
    let mut peer = Peer::at(&sandbox.path());
    peer.must("refuse tmpfile");
    peer
}

#[test]
fn leftovers_of_a_crash_are_removed_by_the_next_to_publish_that_way() {
    let sandbox = Sandbox::new();
    for record in [String::new(), record_of(DEAD_PID)] {
        fs::write(sandbox.dir().join(LEFTOVER), record).unwrap();
        let mut peer = peer_without_tmpfile(&sandbox);
        peer.must("try_lock");
        assert_eq!(sandbox.names(), ["test.pid"]);
        peer.must("unlock");
    }
}

#[test]
fn a_temporary_that_is_in_use_is_not_removed() {
    let sandbox = Sandbox::new();
    let in_use = File::create(sandbox.dir().join(LEFTOVER)).unwrap();
    in_use.try_lock().unwrap();
    peer_without_tmpfile(&sandbox).must("try_lock");
    assert!(sandbox.dir().join(LEFTOVER).exists());
}

#[test]
fn what_is_not_a_temporary_of_ours_is_not_removed() {
    let sandbox = Sandbox::new();
    let files =
        [".pidlockfile-", ".pidlockfile-short", ".pidlockfile-aB3dE6g.", "x.pidlockfile-aB3dE6gH"];
    for name in files {
        fs::write(sandbox.dir().join(name), "").unwrap();
    }
    symlink("nowhere", sandbox.dir().join(LEFTOVER)).unwrap();
    peer_without_tmpfile(&sandbox).must("try_lock");
    for name in files {
        assert!(sandbox.dir().join(name).exists(), "{name}");
    }
    assert!(sandbox.dir().join(LEFTOVER).is_symlink());
}

#[test]
fn a_live_pid_in_a_leftover_keeps_it_from_nothing() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    fs::write(sandbox.dir().join(LEFTOVER), record_of(bystander.pid())).unwrap();
    peer_without_tmpfile(&sandbox).must("try_lock");
    assert!(!sandbox.dir().join(LEFTOVER).exists());
}
