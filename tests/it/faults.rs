//! A case that tests/faults.sh can't produce with strace: close(2) closes, as it always does, and reports an
//! error.

use nix::errno::Errno;
use nix::libc;

use crate::support::peer::Peer;
use crate::support::sandbox::{DEAD_PID, Sandbox, record_of};
use crate::support::trace::{Traced, require_traced};

const ERRORS: [Errno; 4] = [Errno::EINTR, Errno::EIO, Errno::ENOSPC, Errno::EDQUOT];

#[test]
fn a_close_that_reports_an_error_keeps_no_lock_and_fails_no_release() {
    for errno in ERRORS {
        for release in ["unlock", "drop"] {
            let sandbox = Sandbox::new();
            let mut traced = require_traced!(Traced::before(
                Peer::holding(&sandbox.path()),
                release,
                libc::SYS_close
            ));
            traced.report(errno);
            let mut peer = traced.go_on();
            assert_eq!(peer.answer(), "ok", "{errno}");
            sandbox.assert_free_and_clean();
            peer.must("try_lock");
        }
    }
}

#[test]
fn a_close_of_a_stale_file_that_reports_an_error_changes_nothing() {
    for errno in ERRORS {
        let sandbox = Sandbox::new();
        sandbox.plant(record_of(DEAD_PID));
        let mut traced =
            require_traced!(Traced::before(Peer::at(&sandbox.path()), "try_lock", libc::SYS_close));
        traced.report(errno);
        let mut peer = traced.go_on();
        assert_eq!(peer.answer(), "ok", "{errno}");
        peer.must("unlock");
        sandbox.assert_free_and_clean();
    }
}
