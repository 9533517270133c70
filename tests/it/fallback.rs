//! Where `O_TMPFILE`, /proc or a no-clobber rename is missing, the lock works all the same.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::libc;

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
    let ways = [
        vec![libc::SYS_linkat],
        vec![libc::SYS_linkat, libc::SYS_linkat],
        vec![libc::SYS_renameat2],
    ];
    for (refused, way) in PUBLISHING.iter().zip(ways) {
        let sandbox = Sandbox::new();
        let mut peer = Peer::at(&sandbox.path());
        for call in *refused {
            peer.must(&format!("refuse {call}"));
        }
        let traced = Traced::new(peer);
        require!(traced.is_some(), "tracing is forbidden");
        let mut calls = traced.unwrap().calls("try_lock");
        calls.retain(|call| [libc::SYS_linkat, libc::SYS_renameat2].contains(call));
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

/// Stops a peer that publishes through a named temporary before a system call, once that is there.
fn stopped_with_a_temporary(sandbox: &Sandbox, call: i64) -> Option<(Traced, PathBuf)> {
    let mut traced = Traced::new(peer_without_tmpfile(sandbox))?;
    assert!(traced.run_to("try_lock", |next| next.number == call));
    let names = sandbox.names();
    assert_eq!(names.len(), 1, "{names:?}");
    Some((traced, sandbox.dir().join(&names[0])))
}

#[test]
fn a_temporary_that_was_taken_for_a_leftover_before_it_was_locked_is_given_up() {
    let sandbox = Sandbox::new();
    let stopped = stopped_with_a_temporary(&sandbox, libc::SYS_flock);
    require!(stopped.is_some(), "tracing is forbidden");
    let (traced, temporary) = stopped.unwrap();
    let mut other = peer_without_tmpfile(&sandbox);
    other.must("try_lock");
    other.must("unlock");
    assert!(!temporary.exists());
    // The worst that can be in its place now.
    fs::write(&temporary, "somebody else's").unwrap();
    // Another's that is in use: only then is it nobody's leftover.
    let in_use = File::open(&temporary).unwrap();
    in_use.try_lock().unwrap();
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
    peer.must("verify");
    assert_eq!(sandbox.record(), record_of(peer.pid()));
    assert_eq!(fs::read_to_string(temporary).unwrap(), "somebody else's");
}

#[test]
fn a_temporary_that_an_outsider_removed_is_made_again() {
    let sandbox = Sandbox::new();
    let stopped = stopped_with_a_temporary(&sandbox, libc::SYS_renameat2);
    require!(stopped.is_some(), "tracing is forbidden");
    let (traced, temporary) = stopped.unwrap();
    fs::remove_file(temporary).unwrap();
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
    peer.must("verify");
}
