//! What a subscriber of `tracing` sees of a wait.

use std::fmt;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pidlockfile::retry::{RetryPolicy, acquire_with_retry};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::sandbox::Sandbox;

/// Writes a line for all that it is told by this crate.
#[derive(Clone, Default)]
struct Listener {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

impl Listener {
    fn hear(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn heard(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "pidlockfile::retry" && *metadata.level() == Level::DEBUG
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.hear(format!("new {}", span.metadata().name()));
        Id::from_u64(self.spans.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut Fields(&mut line));
        self.hear(line);
    }

    fn enter(&self, _: &Id) {
        self.hear("enter".to_owned());
    }

    fn exit(&self, _: &Id) {
        self.hear("exit".to_owned());
    }

    fn try_close(&self, _: Id) -> bool {
        self.hear("close".to_owned());
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = if field.name() == "message" {
            format!("{value:?}")
        } else {
            format!(" {}={value:?}", field.name())
        };
        self.0.push_str(&text);
    }
}

/// What is heard while `work` is done.
pub fn heard_while(work: impl FnOnce()) -> Vec<String> {
    let listener = Listener::default();
    tracing::subscriber::with_default(listener.clone(), work);
    listener.heard()
}

#[test]
fn a_wait_is_a_span_and_each_attempt_an_event_in_it() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
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
    let failed =
        |attempt| format!("attempt failed attempt={attempt} pid={} delay=1ms", process::id());
    let heard = listener.heard();
    assert_eq!(
        heard[..4],
        ["new wait".to_owned(), "enter".to_owned(), failed(1), "exit".to_owned()]
    );
    assert_eq!(heard[4..7], ["enter".to_owned(), failed(2), "exit".to_owned()]);
    assert_eq!(heard[7..], ["enter", "attempt succeeded attempt=3", "exit", "close"]);
}

#[test]
fn without_a_wait_there_is_no_span() {
    let sandbox = Sandbox::new();
    let listener = Listener::default();
    tracing::subscriber::with_default(listener.clone(), || {
        let _guard = acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::default()).unwrap();
        acquire_with_retry(&sandbox.lockfile(), &RetryPolicy::none()).unwrap_err();
    });
    let failed = format!("attempt failed attempt=1 pid={}", process::id());
    assert_eq!(listener.heard(), ["attempt succeeded attempt=1".to_owned(), failed]);
}
