//! Behaviour of NFS, simulated: a system call is made to fail, or to report a failure although it succeeded.

use nix::errno::Errno;
use nix::libc;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, record_of};
use crate::support::trace::{Call, Traced, require_traced};

mod names;

/// A peer on a file system that has no `O_TMPFILE` and is not known to be local.
fn peer_elsewhere(sandbox: &Sandbox) -> Peer {
    Peer::without(&sandbox.path(), &["tmpfile", "statfs"])
}

#[test]
fn a_file_that_must_be_writable_for_its_kernel_lock_is_opened_for_writing() {
    for errno in [Errno::EBADF, Errno::EIO] {
        for held in [false, true] {
            let sandbox = Sandbox::new();
            sandbox.plant("junk");
            let holder = std::fs::File::open(sandbox.path()).unwrap();
            if held {
                holder.try_lock().unwrap();
            }
            let mut traced = require_traced!(Traced::before(
                Peer::at(&sandbox.path()),
                "try_lock",
                libc::SYS_flock
            ));
            traced.fail(errno);
            let answer = traced.go_on().answer();
            if held {
                assert!(answer.starts_with("Busy {"), "{errno}: {answer}");
            } else {
                assert_eq!(answer, "ok", "{errno}");
            }
        }
    }
}

#[test]
fn a_link_that_succeeded_is_ours_although_it_returned_eexist() {
    require_able!(UnnamedFiles);
    let sandbox = Sandbox::new();
    let mut traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_linkat));
    traced.report(Errno::EEXIST);
    let calls = traced.rest_of_calls();
    assert!(!calls.contains(&libc::SYS_flock), "it looked again: {calls:?}");
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
    assert_eq!(sandbox.names(), ["test.pid"]);
    assert_eq!(sandbox.record(), record_of(peer.pid()));
    peer.must("unlock");
    sandbox.assert_free_and_clean();
}

#[test]
fn a_creation_that_succeeded_is_found_although_it_returned_eexist() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(peer_elsewhere(&sandbox)));
    assert!(traced.run_to("try_lock", Call::creates_exclusively));
    traced.report(Errno::EEXIST);
    let mut peer = traced.go_on();
    assert_eq!(peer.answer(), "ok");
    assert_eq!(sandbox.record(), record_of(peer.pid()));
    peer.must("unlock");
    sandbox.assert_free_and_clean();
}

#[test]
fn an_interrupted_call_is_repeated() {
    for call in [libc::SYS_flock, libc::SYS_pread64] {
        let sandbox = Sandbox::new();
        sandbox.plant("junk");
        let mut traced =
            require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", call));
        traced.fail(Errno::EINTR);
        assert_eq!(traced.go_on().answer(), "ok");
    }
}

/// NFS returns ESTALE, 9p and sshfs return ENOENT.
#[test]
fn a_file_that_went_after_the_open_is_looked_for_again() {
    for errno in [Errno::ESTALE, Errno::ENOENT] {
        for call in [libc::SYS_flock, libc::SYS_newfstatat, libc::SYS_pread64] {
            let sandbox = Sandbox::new();
            sandbox.plant("junk");
            let mut traced =
                require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", call));
            traced.fail(errno);
            assert_eq!(traced.go_on().answer(), "ok", "{errno} of {call}");
        }
    }
}

#[test]
fn a_file_that_went_before_its_owner_could_be_read_has_none() {
    for errno in [Errno::ESTALE, Errno::ENOENT] {
        for call in [libc::SYS_newfstatat, libc::SYS_pread64] {
            let sandbox = Sandbox::new();
            sandbox.plant(record_of(1));
            let mut traced =
                require_traced!(Traced::before(Peer::at(&sandbox.path()), "owner", call));
            traced.fail(errno);
            assert_eq!(traced.go_on().answer(), "None", "{errno} of {call}");
        }
    }
}

#[test]
fn a_created_file_that_went_before_its_kernel_lock_is_created_again() {
    for errno in [Errno::ESTALE, Errno::ENOENT] {
        for call in [libc::SYS_flock, libc::SYS_newfstatat] {
            let sandbox = Sandbox::new();
            let mut traced =
                require_traced!(Traced::before(peer_elsewhere(&sandbox), "try_lock", call));
            traced.fail(errno);
            let mut peer = traced.go_on();
            assert_eq!(peer.answer(), "ok", "{errno} of {call}");
            peer.must("unlock");
            sandbox.assert_free_and_clean();
        }
    }
}

#[test]
fn an_unlink_that_is_busy_with_another_one_is_repeated() {
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let mut traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_unlink));
    traced.fail(Errno::EBUSY);
    assert_eq!(traced.go_on().answer(), "ok");
}

/// A file that is itself a mount point, as in a container, returns EBUSY for every unlink.
#[test]
fn an_unlink_that_is_always_busy_is_a_permanent_error() {
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let mut peer = Peer::without(&sandbox.path(), &["unlink_busy"]);
    let answer = peer.ask("try_lock");
    assert!(answer.starts_with("Io { action: \"remove the stale\""), "{answer}");
    assert!(answer.contains("ResourceBusy"), "{answer}");
}

#[test]
fn a_file_whose_lease_is_being_revoked_is_looked_at_again() {
    let sandbox = Sandbox::new();
    sandbox.plant("junk");
    let mut traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_openat));
    traced.fail(Errno::EWOULDBLOCK);
    assert_eq!(traced.go_on().answer(), "ok");
}

/// cifs turns flock(2) into a lock at its server.
#[test]
fn a_kernel_lock_that_is_refused_by_eacces_is_busy() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let mut traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_flock));
    traced.fail(Errno::EACCES);
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: true"), "{answer}");
    assert!(answer.contains(&owner.pid().to_string()), "{answer}");
}

/// cifs does not let others read a locked file, whether or not its mount shares the kernel lock (`nobrl`).
#[test]
fn an_opened_file_that_may_not_be_read_is_busy() {
    for held in [true, false] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        if !held {
            owner.kill();
        }
        let mut traced = require_traced!(Traced::before(
            Peer::at(&sandbox.path()),
            "try_lock",
            libc::SYS_pread64
        ));
        traced.fail(Errno::EACCES);
        let answer = traced.go_on().answer();
        assert!(answer.starts_with("Busy {") && answer.contains("pid: None"), "{answer}");
    }
}

#[test]
fn an_owner_that_goes_between_its_lookup_and_its_open_is_looked_for_again() {
    for errno in [Errno::ESTALE, Errno::EWOULDBLOCK] {
        let sandbox = Sandbox::new();
        sandbox.plant(record_of(1));
        let mut traced =
            require_traced!(Traced::before(Peer::at(&sandbox.path()), "owner", libc::SYS_openat));
        traced.fail(errno);
        assert_eq!(traced.go_on().answer(), "Some(1)", "{errno}");
    }
}

#[test]
fn a_directory_whose_handle_is_stale_is_a_permanent_error() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    let opens = |call: &Call| call.number == libc::SYS_openat;
    let mut there_is_more = traced.run_to("try_lock", opens);
    while there_is_more {
        traced.fail(Errno::ESTALE);
        there_is_more = traced.run_on_to(opens);
    }
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Io { action: \"open\""), "{answer}");
}

/// mergerfs returns this for a file that another process has removed and created again.
#[test]
fn a_file_that_goes_between_its_lookup_and_its_open_is_looked_for_again() {
    let sandbox = Sandbox::new();
    let mut traced =
        require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_openat));
    traced.fail(Errno::ESTALE);
    assert_eq!(traced.go_on().answer(), "ok");
}

#[test]
fn an_interrupted_removal_is_repeated() {
    let sandbox = Sandbox::new();
    let mut traced =
        require_traced!(Traced::before(Peer::holding(&sandbox.path()), "unlock", libc::SYS_unlink));
    traced.fail(Errno::EINTR);
    assert_eq!(traced.go_on().answer(), "ok");
    sandbox.assert_free_and_clean();
}

/// FUSE and NFS interrupt calls that other file systems finish.
#[test]
fn an_interrupted_call_of_the_owner_is_repeated() {
    for command in ["verify", "unlock"] {
        for nth in 0..8 {
            let sandbox = Sandbox::new();
            let mut traced = require_traced!(Traced::new(Peer::holding(&sandbox.path())));
            let mut calls = 0..;
            // An error of close(2) has no effect (see faults), and getpid(2) asks no file system.
            let is_asked = |call: i64| ![libc::SYS_close, libc::SYS_getpid].contains(&call);
            if traced.run_to(command, |next| is_asked(next.number) && calls.next() == Some(nth)) {
                traced.fail(Errno::EINTR);
            }
            assert_eq!(traced.go_on().answer(), "ok", "call {nth} of {command}");
        }
    }
}
