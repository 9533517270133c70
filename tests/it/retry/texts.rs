//! The texts of a run that gave up, and of an attempt.

use std::error::Error as _;
use std::time::Duration;
use std::{fs, io, process};

use pidlockfile::retry::{GaveUp, Jitter, RetryError, RetryPolicy, Temporary, acquire_with_retry};

use crate::retry::{MS, denied};
use crate::support::sandbox::{Bystander, Sandbox, record_of};
use crate::support::waiting::would_block;

/// A run that ended for this reason, after this time.
fn gave_up(reason: GaveUp, attempts: u32, elapsed: Duration) -> RetryError<io::Error> {
    let mut error = RetryPolicy::none().run().call(|| Err::<(), _>(would_block())).unwrap_err();
    (error.reason, error.attempts, error.elapsed) = (reason, attempts, elapsed);
    error
}

#[test]
fn every_text_is_what_it_is_meant_to_be() {
    let busy = would_block();
    for (reason, attempts, elapsed, text) in [
        (GaveUp::Permanent, 1, MS, String::new()),
        (GaveUp::Attempts, 1, MS, "gave up after 1 attempt: ".to_owned()),
        (GaveUp::Attempts, 3, MS, "gave up after 3 attempts: ".to_owned()),
        (GaveUp::Deadline, 46, 10_004 * MS, "gave up after 10.0s and 46 attempts: ".to_owned()),
        (GaveUp::Deadline, 1, Duration::ZERO, "gave up after 1 attempt: ".to_owned()),
        (GaveUp::Deadline, 2, MS * 999 / 1000, "gave up after 2 attempts: ".to_owned()),
        (GaveUp::Cancelled, 1, 5 * MS, "cancelled after 5ms and 1 attempt: ".to_owned()),
        (GaveUp::Cancelled, 9, 1500 * MS, "cancelled after 1.5s and 9 attempts: ".to_owned()),
    ] {
        assert_eq!(gave_up(reason, attempts, elapsed).to_string(), format!("{text}{busy}"));
    }
    let without = |reason| RetryError::<io::Error>::new(reason, None).to_string();
    assert_eq!(without(GaveUp::Cancelled), "cancelled before the first attempt");
    assert_eq!(without(GaveUp::Permanent), "failed for good");
}

#[test]
fn the_text_alone_names_the_lock_and_its_owner() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let busy = sandbox.lockfile().try_lock().unwrap_err();
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    assert_eq!(error.to_string(), format!("gave up after 1 attempt: {busy}"));
    let error =
        acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default().with_max_elapsed(20 * MS));
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("gave up after 2") && text.ends_with(&format!(": {busy}")), "{text}");
}

#[test]
fn a_permanent_error_reads_as_itself() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let alone = sandbox.lockfile().try_lock().unwrap_err();
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap_err();
    assert_eq!(error.to_string(), alone.to_string());
    assert!(error.is_permanent() && !error.is_busy() && !error.is_cancelled());
}

#[test]
fn a_chain_of_causes_repeats_nothing() {
    let nowhere = pidlockfile::Lockfile::new("/missing/test.pid").unwrap();
    let alone = nowhere.try_lock().unwrap_err();
    let error = acquire_with_retry(&nowhere, &RetryPolicy::default()).unwrap_err();
    assert_eq!(error.to_string(), alone.to_string());
    assert_eq!(error.source().unwrap().to_string(), alone.source().unwrap().to_string());
    assert!(error.source().unwrap().source().is_none());
}

#[test]
fn one_call_tells_why_a_run_ended() {
    let sandbox = Sandbox::new();
    let _held = sandbox.lock();
    let mut error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    assert!(error.is_busy() && !error.is_permanent() && !error.is_cancelled());
    assert_eq!(error.owner(), Some(process::id()));
    error.last = None;
    assert_eq!(error.owner(), None);
    let error = RetryError::new(GaveUp::Deadline, would_block());
    assert!(error.is_busy());
    assert_eq!((error.attempts, error.elapsed), (1, Duration::ZERO));
}

#[test]
fn as_an_io_error_it_has_the_kind_of_its_reason_and_keeps_itself_inside() {
    for (reason, kind) in [
        (GaveUp::Attempts, io::ErrorKind::WouldBlock),
        (GaveUp::Deadline, io::ErrorKind::TimedOut),
        (GaveUp::Cancelled, io::ErrorKind::Other),
    ] {
        let error = io::Error::from(gave_up(reason, 2, MS));
        assert_eq!(error.kind(), kind);
        let inside = error.get_ref().unwrap().downcast_ref::<RetryError<io::Error>>().unwrap();
        assert_eq!(inside.reason, reason);
    }
}

#[test]
fn as_an_io_error_a_permanent_one_keeps_its_own_kind() {
    let run = || RetryPolicy::none().run().call(|| Err::<(), _>(denied())).unwrap_err();
    assert_eq!(io::Error::from(run()).kind(), io::ErrorKind::PermissionDenied);

    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let error = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);

    let nowhere = pidlockfile::Lockfile::new(sandbox.dir().join("missing/test.pid")).unwrap();
    let error = acquire_with_retry(&nowhere, &RetryPolicy::default()).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
}

#[test]
fn as_an_io_error_an_unknown_permanent_one_is_other() {
    #[derive(Debug)]
    struct Broken;
    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("broken")
        }
    }
    impl std::error::Error for Broken {}
    impl Temporary for Broken {
        fn is_temporary(&self) -> bool {
            false
        }
    }
    let error = RetryPolicy::none().run().call(|| Err::<(), _>(Broken)).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
}

#[test]
fn the_text_of_an_attempt_says_all_that_one_wants_to_log() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    let busy = sandbox.lockfile().try_lock().unwrap_err().to_string();
    assert!(busy.contains("kernel_lock_only"), "no remedy: {busy}");
    let mut texts = Vec::new();
    let policy = RetryPolicy::builder().initial_delay(20 * MS).jitter(Jitter::None);
    let policy = policy.max_delay(1500 * MS).multiplier(60.0).max_attempts(2).build().unwrap();
    let mut errors = [would_block(), would_block()].into_iter();
    policy
        .run()
        .on_wait(|attempt| texts.push(attempt.to_string()))
        .acquire(&sandbox.lockfile())
        .unwrap_err();
    assert_eq!(texts, [format!("{busy} (attempt 1, the next within 20ms)")]);
    texts.clear();
    let run = policy.to_builder().max_attempts(3).build().unwrap().run();
    run.on_wait(|attempt| texts.push(attempt.to_string()))
        .call(|| errors.next().map_or(Ok(()), Err))
        .unwrap();
    assert!(texts[1].starts_with("operation would block (attempt 2 after "), "{texts:?}");
    assert!(texts[1].ends_with("ms, the next within 1.2s)"), "{texts:?}");
}
