//! Waiting until one key is deleted.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::etcd::answer::result_of;
use crate::etcd::client::Client;
use crate::etcd::clock::Moment;
use crate::etcd::keys::{Entry, deletion_of};

/// A stream lasts so long at most. Its connection may be dead by then without a sign.
const LIFE: Duration = Duration::from_secs(10);

/// So much of a stream is read at most; what etcd has to say of one key is a hundredth of that.
const MOST: u64 = 1024 * 1024;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stream {
    Deleted,
    /// It has lasted its time, and all is as it was.
    Over,
    /// It never began, or ended before its time.
    Broken,
}

/// Waits until `entry` is deleted. The stream begins right after `revision`, at which it was still there, so nothing
/// is missed. `on_start` is called once the server listens for us.
///
/// Another thread ends it by a shutdown of `agent`.
pub(super) fn wait_for_deletion(
    client: &Client,
    agent: &Agent,
    entry: &Entry,
    revision: u64,
    on_start: impl FnOnce(),
) -> Stream {
    let end = Moment::now().plus(LIFE);
    let Ok(stream) = client.stream(agent, "watch", &deletion_of(entry, revision), LIFE) else {
        return Stream::Broken;
    };
    let mut on_start = Some(on_start);
    for line in BufReader::new(stream.take(MOST)).lines() {
        let event = line.ok().and_then(|line| result_of(200, &line).ok());
        // Cancelled are those that the user may not see, and those whose revision is compacted.
        let event = event.filter(|event| event["canceled"].as_bool() != Some(true));
        let Some(event) = event else { break };
        if is_deletion(&event) {
            return Stream::Deleted;
        }
        if let Some(on_start) = on_start.take() {
            on_start();
        }
    }
    if end.has_come() { Stream::Over } else { Stream::Broken }
}

fn is_deletion(event: &Value) -> bool {
    let events = event["events"].as_array().map_or(&[][..], Vec::as_slice);
    events.iter().any(|event| event["type"] == "DELETE")
}
