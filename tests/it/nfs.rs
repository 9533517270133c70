//! What NFS does differently, played by hand: one system call is made to fail, or said to have failed.

use nix::errno::Errno;
use nix::libc;

use crate::peer::Peer;
use crate::sandbox::{Sandbox, record_of};
use crate::trace::{Traced, require_traced};

#[test]
fn a_file_that_must_be_writable_for_its_kernel_lock_is_opened_so() {
    for errno in [Errno::EBADF, Errno::EIO] {
        for held in [false, true] {
            let sandbox = Sandbox::new();
            sandbox.plant("junk");
            let holder = std::fs::File::open(sandbox.path()).unwrap();
            if held {
                holder.try_lock().unwrap();
            }
            let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
            assert!(traced.run_to("try_lock", |call| call.number == libc::SYS_flock));
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
fn a_link_that_went_through_is_ours_although_the_name_is_said_to_be_taken() {
    for (refused, call) in [(None, libc::SYS_linkat), (Some("tmpfile"), libc::SYS_renameat2)] {
        let sandbox = Sandbox::new();
        let mut peer = Peer::at(&sandbox.path());
        if let Some(refused) = refused {
            peer.must(&format!("refuse {refused}"));
        }
        let mut traced = require_traced!(Traced::new(peer));
        assert!(traced.run_to("try_lock", |next| next.number == call));
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
}

#[test]
fn an_interrupted_call_is_made_again() {
    for call in [libc::SYS_flock, libc::SYS_pread64] {
        let sandbox = Sandbox::new();
        sandbox.plant("junk");
        let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
        assert!(traced.run_to("try_lock", |next| next.number == call));
        traced.fail(Errno::EINTR);
        assert_eq!(traced.go_on().answer(), "ok");
    }
}

#[test]
fn a_file_that_another_machine_removed_after_the_open_is_looked_for_again() {
    for call in [libc::SYS_flock, libc::SYS_statx] {
        let sandbox = Sandbox::new();
        sandbox.plant("junk");
        let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
        assert!(traced.run_to("try_lock", |next| next.number == call));
        traced.fail(Errno::ESTALE);
        assert_eq!(traced.go_on().answer(), "ok");
    }
}

#[test]
fn a_directory_whose_handle_is_stale_is_a_permanent_error() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    assert!(traced.run_to("try_lock", |next| next.number == libc::SYS_openat));
    traced.fail(Errno::ESTALE);
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Io { action: \"open\""), "{answer}");
}

#[test]
fn an_interrupted_removal_is_made_again() {
    let sandbox = Sandbox::new();
    let mut traced = require_traced!(Traced::new(Peer::holding(&sandbox.path())));
    assert!(traced.run_to("unlock", |next| next.number == libc::SYS_unlink));
    traced.fail(Errno::EINTR);
    assert_eq!(traced.go_on().answer(), "ok");
    sandbox.assert_free_and_clean();
}
