//! What a wait does and leaves undone, by its system calls.

use nix::libc;

use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, require, set_mode};
use crate::support::trace::{Call, Traced, require_traced};
use crate::wake::calls::{falling_asleep, reaction};

#[cfg(all(feature = "tokio", target_arch = "x86_64"))]
#[test]
fn an_async_waiter_skips_a_delay_that_is_shorter_than_a_tick_of_its_clock() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut rival = Peer::at(&sandbox.path());
    let sleeps = |call: &Call| call.number == libc::SYS_epoll_wait && call.argument(3) != 0;
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    assert!(traced.run_to("wait_async", sleeps));
    // By now it would delay its attempts for as many rivals, by less than a tick each.
    for _ in 0..3 {
        owner.must("unlock");
        rival.must("try_lock");
        std::mem::swap(&mut owner, &mut rival);
        let mut attempts = 0;
        assert!(traced.run_on_to(|call| {
            attempts += u32::from(call.number == libc::SYS_flock);
            sleeps(call)
        }));
        assert_eq!(attempts, 1);
    }
}

#[test]
fn a_watch_is_not_taken_away_only_to_be_put_back() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    let mut traced = require_traced!(falling_asleep(&sandbox.path()));
    for _ in 0..3 {
        set_mode(&sandbox.path(), 0o600);
        let did = reaction(&mut traced);
        assert_eq!((did.attempts, did.watches, did.unwatches), (1, 1, 0), "{did:?}");
    }
}

#[test]
fn a_watch_is_put_up_only_before_a_long_sleep() {
    let sandbox = Sandbox::new();
    let watches = |command: &str| {
        let mut traced = Traced::new(Peer::at(&sandbox.path()))?;
        let watch = |call: &Call| call.number == libc::SYS_inotify_init1;
        Some(traced.run_to(command, watch))
    };
    let mut owner = Peer::holding(&sandbox.path());
    let by_schedule = watches("wait_by_schedule");
    require!(by_schedule.is_some(), "tracing is forbidden");
    // Each trace ends at the peer's first answer; with the default policy that comes before a sleep of 10 ms.
    assert_eq!(by_schedule, Some(false));
    assert_eq!(watches("wait_by_default"), Some(false));
    assert_eq!(watches("wait"), Some(true));
    owner.must("unlock");
    assert_eq!(watches("wait"), Some(false));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn where_waiters_must_open_the_file_for_writing_its_closing_is_no_event() {
    for needs_writing in [false, true] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
        if needs_writing {
            assert!(traced.run_to("wait", |call| call.number == libc::SYS_flock));
            traced.fail(nix::errno::Errno::EBADF);
        }
        let mut mask = 0;
        let watch = |call: &Call| {
            mask = call.argument(2);
            call.number == libc::SYS_inotify_add_watch
        };
        assert!(if needs_writing { traced.run_on_to(watch) } else { traced.run_to("wait", watch) });
        assert_eq!(mask & u64::from(libc::IN_CLOSE_WRITE) == 0, needs_writing);
        assert_ne!(mask & u64::from(libc::IN_ATTRIB), 0);
        let mut waiter = traced.go_on();
        owner.must("unlock");
        assert_eq!(waiter.answer(), "ok");
    }
}
