//! A name that leads to another file than the open one, because of a client's cache or a server that renames.

use std::fs;

use nix::errno::Errno;
use nix::libc;

use crate::nfs::peer_elsewhere;
use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, record_of};
use crate::support::trace::{Call, Traced, require_traced};

/// An NFS v4 client opens a removed file again and again by its cached name, until it asks its server.
#[test]
fn a_name_that_leads_to_a_removed_file_again_and_again_is_looked_up_in_its_directory() {
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    for look in 0..2 {
        let flock = |call: &Call| call.number == libc::SYS_flock;
        assert!(if look == 0 { traced.run_to("try_lock", flock) } else { traced.run_on_to(flock) });
        traced.fail(Errno::ESTALE);
    }
    let mut asked = false;
    traced.run_on_to(|call| {
        asked |= call.number == libc::SYS_openat
            && call.argument(2) & libc::O_DIRECTORY as u64 != 0
            && call.argument(2) & libc::O_TMPFILE as u64 != libc::O_TMPFILE as u64;
        call.number == libc::SYS_flock
    });
    assert!(asked);
    assert_eq!(traced.go_on().answer(), "ok");
}

/// NFS and FUSE rename an open file when it is removed. Its link count stays 1, and the next file may get its
/// inode number: here a second name stands for that file.
#[test]
fn a_file_that_was_renamed_out_of_the_way_is_not_taken_for_the_one_at_the_path() {
    require_able!(HardLinks);
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let mut traced =
        require_traced!(Traced::before(peer_elsewhere(&sandbox), "try_lock", libc::SYS_pread64));
    let renamed = sandbox.dir().join(".nfs0001");
    fs::rename(sandbox.path(), &renamed).unwrap();
    fs::hard_link(&renamed, sandbox.path()).unwrap();
    let mut calls = Vec::new();
    traced.run_on_to(|call| {
        calls.push(call.number);
        call.number == libc::SYS_flock
    });
    // The peer gives up the file, and looks again.
    assert!(!calls.contains(&libc::SYS_unlink), "{calls:?}");
    assert_eq!(traced.go_on().answer(), "ok");
}

/// On another NFS client the cache still has the removed file: the client asks its server only when a directory
/// is opened.
#[test]
fn a_name_is_looked_up_in_its_directory_before_it_is_removed() {
    let sandbox = Sandbox::new();
    for record in [None, Some("junk")] {
        if let Some(record) = record {
            sandbox.plant(record);
        }
        let mut traced = require_traced!(Traced::new(peer_elsewhere(&sandbox)));
        let (mut opened, mut looked_up) = (false, false);
        traced.run_to("try_lock", |call| {
            if call.number == libc::SYS_openat && call.argument(2) & libc::O_DIRECTORY as u64 != 0 {
                opened = true;
            }
            looked_up |= opened && call.number == libc::SYS_newfstatat;
            // The call that the lookup must precede: the removal of the stale file, or the record in our own.
            call.number == libc::SYS_unlink || call.number == libc::SYS_write
        });
        assert!(opened && looked_up, "{record:?}");
        let mut peer = traced.go_on();
        assert_eq!(peer.answer(), "ok");
        peer.must("unlock");
    }
}

#[test]
fn a_file_that_another_client_replaced_is_not_removed() {
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let traced =
        require_traced!(Traced::before(peer_elsewhere(&sandbox), "try_lock", libc::SYS_pread64));
    let owner = {
        // The kernel of this client does not notice: the name moves away and comes back.
        let away = sandbox.dir().join("away");
        fs::rename(sandbox.path(), &away).unwrap();
        Peer::holding(&sandbox.path())
    };
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {"), "{answer}");
    assert_eq!(sandbox.record(), record_of(owner.pid()));
}

/// Another process's file under our name and with our inode number, after an outsider removed ours: a second
/// name of our file stands for it.
#[test]
fn a_release_of_a_file_that_was_renamed_out_of_the_way_removes_nothing() {
    require_able!(HardLinks);
    for release in ["verify", "unlock"] {
        let sandbox = Sandbox::new();
        let mut owner = peer_elsewhere(&sandbox);
        owner.must("try_lock");
        let renamed = sandbox.dir().join(".fuse_hidden0001");
        fs::rename(sandbox.path(), &renamed).unwrap();
        fs::hard_link(&renamed, sandbox.path()).unwrap();
        owner.must_fail(release, "RogueDeletion");
        assert_eq!(sandbox.record(), record_of(owner.pid()));
    }
}

#[test]
fn a_release_looks_the_name_up_in_its_directory_before_it_removes_it() {
    let sandbox = Sandbox::new();
    let mut owner = peer_elsewhere(&sandbox);
    owner.must("try_lock");
    let mut traced = require_traced!(Traced::new(owner));
    let (mut opened, mut looked_up) = (false, false);
    assert!(traced.run_to("unlock", |call| {
        opened |=
            call.number == libc::SYS_openat && call.argument(2) & libc::O_DIRECTORY as u64 != 0;
        looked_up |= opened && call.number == libc::SYS_newfstatat;
        call.number == libc::SYS_unlink
    }));
    assert!(opened && looked_up);
    assert_eq!(traced.go_on().answer(), "ok");
}
