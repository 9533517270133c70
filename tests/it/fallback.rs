//! Without `O_TMPFILE` or /proc, the lock works all the same.

use std::fs::{self, File};

#[cfg(target_arch = "x86_64")]
use nix::errno::Errno;
use nix::libc;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, PUBLISHING, Sandbox, is_root, record_of, require};
use crate::support::trace::{Call, Traced, require_traced};

#[test]
fn every_way_of_publishing_gives_a_lock_and_leaves_nothing() {
    for refused in PUBLISHING {
        let sandbox = Sandbox::new();
        let mut owner = Peer::without(&sandbox.path(), refused);
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
    require_able!(UnnamedFiles);
    let ways = [&["link"][..], &["link", "link"], &["create"], &["link", "link", "create"]];
    for (refused, way) in PUBLISHING.iter().zip(ways) {
        let sandbox = Sandbox::new();
        let peer = Peer::without(&sandbox.path(), refused);
        let mut traced = require_traced!(Traced::new(peer));
        let mut taken = Vec::new();
        traced.run_to("try_lock", |call| {
            if call.number == libc::SYS_linkat {
                taken.push("link");
            } else if call.creates_exclusively() {
                taken.push("create");
            }
            false
        });
        assert_eq!(taken, way, "{refused:?}");
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

/// A peer that creates its file under its name.
fn peer_without_tmpfile(sandbox: &Sandbox) -> Peer {
    Peer::without(&sandbox.path(), &["tmpfile"])
}

/// Stops a peer after it has created its file and before it asks for its kernel lock.
fn stopped_before_its_kernel_lock(sandbox: &Sandbox) -> Option<Traced> {
    let mut traced = Traced::new(peer_without_tmpfile(sandbox))?;
    assert!(traced.run_to("try_lock", |call| call.number == libc::SYS_flock));
    assert_eq!(sandbox.record(), "");
    Some(traced)
}

#[test]
fn a_created_file_that_another_took_for_stale_is_given_up() {
    let sandbox = Sandbox::new();
    let traced = require_traced!(stopped_before_its_kernel_lock(&sandbox));
    let other = Peer::holding(&sandbox.path());
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {"), "{answer}");
    assert_eq!(sandbox.record(), record_of(other.pid()));
}

#[test]
fn a_created_file_that_another_removed_is_created_again() {
    let sandbox = Sandbox::new();
    let traced = require_traced!(stopped_before_its_kernel_lock(&sandbox));
    let mut other = Peer::holding(&sandbox.path());
    other.must("unlock");
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
    peer.must("verify");
    peer.must("unlock");
    sandbox.assert_free_and_clean();
}

/// A careful script holds the kernel lock only while it writes: from then on only its pid protects it.
#[test]
fn a_created_file_belongs_to_the_script_that_wrote_its_pid_into_it() {
    let sandbox = Sandbox::new();
    let script = Bystander::new();
    let traced = require_traced!(stopped_before_its_kernel_lock(&sandbox));
    sandbox.plant(record_of(script.pid()));
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: false"), "{answer}");
    assert_eq!(sandbox.record(), record_of(script.pid()));
}

#[test]
fn a_created_file_that_is_being_looked_at_is_given_up() {
    let sandbox = Sandbox::new();
    let traced = require_traced!(stopped_before_its_kernel_lock(&sandbox));
    let looks = File::open(sandbox.path()).unwrap();
    looks.try_lock().unwrap();
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {"), "{answer}");
    // Explicitly: a process that another test is just starting may have a copy.
    looks.unlock().unwrap();
    sandbox.assert_free_and_clean();
}

/// sshfs returns EPERM for a name that is taken.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_lost_race_for_the_name_is_no_permanent_error_whatever_its_errno() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(peer_without_tmpfile(&sandbox)));
    assert!(traced.run_to("try_lock", Call::creates_exclusively));
    let owner = Peer::holding(&sandbox.path());
    traced.fail(Errno::EPERM);
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {"), "{answer}");
    drop(owner);

    let mut traced = require_traced!(Traced::new(peer_without_tmpfile(&sandbox)));
    assert!(traced.run_to("try_lock", Call::creates_exclusively));
    traced.fail(Errno::EPERM);
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Io { action: \"create\""), "{answer}");
}

#[test]
fn the_directory_is_never_listed() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(peer_without_tmpfile(&sandbox)));
    let calls = traced.calls("try_lock");
    assert!(!calls.contains(&libc::SYS_getdents64), "{calls:?}");
}

/// A thread can have its own descriptors: /proc/self shows those of the process's first thread.
#[test]
fn a_thread_with_descriptors_of_its_own_links_its_own_file() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.dir().join("stranger"), "somebody else's data").unwrap();
    let mut peer = Peer::without(&sandbox.path(), &["link_by_empty_path"]);
    peer.must("cycle_beside_a_stranger");
    assert_eq!(sandbox.names(), ["stranger"]);
}
