//! What a subscriber of `tracing` sees of a wait.

use std::fs;
use std::process;
use std::time::Duration;

use pidlockfile::retry::{RetryPolicy, acquire_with_retry};

use crate::support::listener::{Listener, lines_while};
use crate::support::sandbox::Sandbox;

#[test]
fn a_wait_is_a_span_and_each_attempt_an_event_in_it() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    let busy = sandbox.lockfile().try_lock().unwrap_err();
    let listener = Listener::default();
    let policy = RetryPolicy::fixed(Duration::from_millis(1)).with_max_elapsed(None);
    tracing::subscriber::with_default(listener.clone(), || {
        let run = policy.run().on_wait(|attempt| {
            if attempt.number == 2 {
                drop(held.take());
            }
        });
        run.acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
    });
    let (path, pid) = (sandbox.path().display().to_string(), process::id());
    let failed = |attempt| {
        format!(
            "DEBUG attempt failed lock={path:?} attempt={attempt} holder=\"{pid}\" error={busy} delay=1ms"
        )
    };
    let succeeded = format!("DEBUG attempt succeeded lock={path:?} attempt=3");
    let heard = listener.lines();
    assert_eq!(
        heard[..4],
        [format!("new wait lock={path:?}"), "enter".to_owned(), failed(1), "exit".to_owned()]
    );
    assert_eq!(heard[4..7], ["enter".to_owned(), failed(2), "exit".to_owned()]);
    assert_eq!(heard[7..], ["enter", &succeeded, "exit", "close"]);
}

#[test]
fn without_a_wait_there_is_no_span() {
    let sandbox = Sandbox::new();
    let listener = Listener::default();
    tracing::subscriber::with_default(listener.clone(), || {
        let _guard = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap();
        acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    });
    let (path, pid) = (sandbox.path().display().to_string(), process::id());
    let heard = listener.lines();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0], format!("DEBUG attempt succeeded lock={path:?} attempt=1"));
    assert!(heard[1].starts_with(&format!("WARN gave up lock={path:?} ")), "{heard:?}");
    assert!(
        heard[1].contains(&format!(" reason=Attempts attempts=1 holder=\"{pid}\" ")),
        "{heard:?}"
    );
}

#[test]
fn giving_up_for_good_is_an_error_with_its_text() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    let heard = lines_while(|| {
        acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap_err();
    });
    let alone = sandbox.lockfile().try_lock().unwrap_err();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("ERROR gave up lock="), "{heard:?}");
    assert!(heard[0].contains(&format!("error={alone}")), "{heard:?}");
}
