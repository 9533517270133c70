//! SIGKILL at every point: the lock is free afterwards, and nothing is left behind.

use pidlockfile::Error;

use crate::support::peer::Peer;
use crate::support::sandbox::{PUBLISHING, START, Sandbox, record_of};
use crate::support::trace::{Traced, require_traced};

#[test]
fn a_killed_owner_leaves_the_lock_free() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.kill();
    assert_eq!(sandbox.record(), record_of(owner.pid()));
    sandbox.assert_free_and_clean();
}

#[test]
fn an_owner_that_exits_without_drop_leaves_the_lock_free() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    assert!(owner.end().success());
    assert_eq!(sandbox.record(), record_of(owner.pid()));
    sandbox.assert_free_and_clean();
}

#[test]
fn sigkill_before_any_system_call_of_try_lock_leaves_the_lock_free() {
    for start in START {
        for refused in PUBLISHING {
            let mut killed = 0;
            loop {
                let sandbox = Sandbox::new();
                start(&sandbox);
                let mut successor = Peer::without(&sandbox.path(), refused);
                let peer = Peer::without(&sandbox.path(), refused);
                let mut traced = require_traced!(Traced::new(peer));
                let in_the_middle = traced.run_to_nth("try_lock", killed);
                traced.peer.kill();

                // Another process that publishes in the same way finds the lock free, and cleans up.
                successor.must("try_lock");
                assert_eq!(sandbox.names(), ["test.pid"], "killed before call {killed}");
                successor.must("unlock");
                if !in_the_middle {
                    break;
                }
                killed += 1;
            }
            assert!(killed >= 6, "only {killed} system calls were seen");
        }
    }
}

#[test]
fn sigkill_before_any_system_call_of_release_leaves_the_lock_free() {
    for release in ["unlock", "drop"] {
        let mut killed = 0;
        loop {
            let sandbox = Sandbox::new();
            let mut traced = require_traced!(Traced::new(Peer::holding(&sandbox.path())));
            let in_the_middle = traced.run_to_nth(release, killed);
            traced.peer.kill();
            sandbox.assert_free_and_clean();
            if !in_the_middle {
                break;
            }
            killed += 1;
        }
        assert!(killed >= 5, "only {killed} system calls were seen");
    }
}

#[test]
fn sigkill_before_any_system_call_of_adopt_leaves_the_record_of_the_parent_or_the_child_or_none() {
    let mut killed = 0;
    loop {
        let sandbox = Sandbox::new();
        let mut parent = Peer::holding(&sandbox.path());
        parent.must("fork");
        let mut traced = require_traced!(Traced::child_of(parent));
        let child = traced.child_pid();
        let in_the_middle = traced.run_to_nth("child adopt", killed);
        let mut parent = traced.kill_child();

        // The parent's copy still holds the kernel lock.
        let recorded = match sandbox.lockfile().try_lock() {
            Err(Error::Busy { pid, kernel_locked: true, .. }) => pid,
            other => panic!("killed before call {killed}: {other:?}"),
        };
        let possible = [Some(parent.pid()), None, Some(child)];
        assert!(possible.contains(&recorded), "{recorded:?}");
        parent.kill();
        sandbox.assert_free_and_clean();
        if !in_the_middle {
            assert_eq!(recorded, Some(child));
            break;
        }
        killed += 1;
    }
    assert!(killed >= 5, "only {killed} system calls were seen");
}
