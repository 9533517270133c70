//! Which errors are tried again, and after how long.

use std::io;
use std::time::Duration;

use nix::libc;
use pidlockfile::retry::{Again, GaveUp, Jitter, RetryPolicy, Temporary};

use crate::retry::{MS, attempts, hasty};
use crate::support::waiting::{LONG, would_block};

#[test]
fn a_closure_chooses_which_errors_are_tried_again() {
    let mut errors = [Err("try later"), Err("try later"), Err("no"), Ok(())].into_iter();
    let run = hasty().run();
    let error = run.call_when(|| errors.next().unwrap(), |error| error.ends_with("later"));
    let error = error.unwrap_err();
    assert_eq!((error.reason, error.attempts, error.last), (GaveUp::Permanent, 3, Some("no")));
}

#[test]
fn a_servers_own_delay_takes_the_place_of_the_next_one() {
    let mut seen = Vec::new();
    let policy = RetryPolicy::builder().initial_delay(MS).jitter(Jitter::None).build().unwrap();
    let policy = policy.with_max_elapsed(LONG);
    let mut errors = [20, 0, 100_000].into_iter();
    let error = policy
        .run()
        .on_wait(|attempt| seen.push(attempt.next_delay))
        .call_when(
            || errors.next().map_or(Ok(()), Err),
            |delay| match delay {
                0 => Again::Scheduled,
                100_000 => Again::Never,
                ms => Again::After(Duration::from_millis(*ms)),
            },
        )
        .unwrap_err();
    assert_eq!((error.reason, error.last), (GaveUp::Permanent, Some(100_000)));
    // It can be longer than the longest delay, and then the policy's own delays continue where they were.
    assert_eq!(seen, [20 * MS, MS]);
}

#[test]
fn a_servers_own_delay_does_not_outlast_the_deadline() {
    let mut seen = Vec::new();
    let error = RetryPolicy::default()
        .with_max_elapsed(20 * MS)
        .run()
        .on_wait(|attempt| seen.push(attempt.next_delay))
        .call_when(|| Err::<(), _>("later"), |_| Again::After(LONG))
        .unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 2));
    assert!(seen[0] <= 20 * MS, "{seen:?}");
}

#[test]
fn an_error_of_a_lock_may_ask_for_its_own_delay() {
    #[derive(Debug)]
    struct Later;
    impl std::fmt::Display for Later {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("later")
        }
    }
    impl Temporary for Later {
        fn is_temporary(&self) -> bool {
            true
        }
        fn retry_after(&self) -> Option<Duration> {
            Some(3 * MS)
        }
    }
    let mut seen = Vec::new();
    let run = attempts(2).run().on_wait(|attempt| seen.push(attempt.next_delay));
    run.call(|| Err::<(), _>(Later)).unwrap_err();
    assert_eq!(seen, [3 * MS]);
}

#[test]
fn running_out_of_descriptors_ends_no_wait_but_a_first_attempt() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
        let short = || io::Error::from_raw_os_error(errno);
        let error = hasty().run().call(|| Err::<(), _>(short())).unwrap_err();
        assert_eq!((error.reason, error.attempts), (GaveUp::Permanent, 1));
        let mut results = [Err(would_block()), Err(short()), Err(short()), Ok(())].into_iter();
        hasty().run().call(|| results.next().unwrap()).unwrap();
    }
}
