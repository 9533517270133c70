//! The lock in etcd: what its keys are, and the requests that read and write them.
//!
//! Each place in the line is a key `NAME/<lease, hex>` with the value `HOST PID`. The lowest create revision owns the
//! lock and is its fencing token. So it is in Go's clientv3/concurrency and in `etcdctl lock`, too.

use std::process;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::system::uname;
use serde_json::{Value, json};

use crate::etcd::answer::Failure;
use crate::etcd::client::{Answer, Client};
use crate::etcd::error::EtcdError;

/// One key, as it was at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The key in base64. Another program's need not be text.
    raw: String,
    pub(super) created: u64,
    /// What to call its writer.
    pub(super) holder: String,
}

/// What a transaction found, all at one revision.
pub(super) struct Line {
    pub(super) revision: u64,
    /// Ours, if it is there.
    pub(super) own: Option<Entry>,
    /// The owner's.
    pub(super) first: Option<Entry>,
    /// The one before ours, after which it is our turn.
    pub(super) older: Option<Entry>,
}

pub(super) fn key_of(name: &str, lease: i64) -> String {
    format!("{name}/{lease:x}")
}

pub(super) fn busy(client: &Client, owner: &Entry, in_line: bool) -> EtcdError {
    let (name, holder) = (client.settings.name.clone(), owner.holder.clone());
    EtcdError::Busy { name, holder, token: owner.created, in_line }
}

/// The owner's key, if there is one. Nothing is written.
pub(super) fn look(client: &Client) -> Result<Option<Entry>, Failure> {
    let answer = client.call("kv/range", &first_of(&client.settings.name), None)?;
    entries(&answer.result).map(|found| found.into_iter().next())
}

/// The key, if it is there.
pub(super) fn read(client: &Client, key: &str) -> Result<Option<Entry>, Failure> {
    let answer = client.call("kv/range", &only(key), None)?;
    entries(&answer.result).map(|found| found.into_iter().next())
}

/// Puts our key if there is no other: the line is empty then. `own` is ours, `first` another's.
pub(super) fn take_if_free(client: &Client, lease: i64) -> Result<Line, Failure> {
    let name = &client.settings.name;
    let own = key_of(name, lease);
    let mut is_empty = all_of(name);
    is_empty["target"] = "CREATE".into();
    is_empty["result"] = "EQUAL".into();
    is_empty["create_revision"] = "0".into();
    let get_first = json!({ "request_range": first_of(name) });
    let request =
        json!({ "compare": [is_empty], "success": [put(&own, lease)], "failure": [get_first] });
    let answer = client.call("kv/txn", &request, None)?.result;
    let revision = number(&answer["header"]["revision"]);
    if answer["succeeded"].as_bool() == Some(true) {
        let own = Entry { raw: encode(&own), key: own, created: revision, holder: String::new() };
        return Ok(Line { revision, own: Some(own.clone()), first: Some(own), older: None });
    }
    let first = found_by(&answer, 0)?.into_iter().next();
    // A server did as it was told and did not say so: what is there is our own.
    let own = first.clone().filter(|first| first.key == own);
    Ok(Line { revision, own, first, older: None })
}

/// Puts our key at the end of the line.
pub(super) fn stand(client: &Client, lease: i64) -> Result<Line, Failure> {
    let name = &client.settings.name;
    let own = key_of(name, lease);
    let mut last_two = all_of(name);
    last_two["sort_target"] = "CREATE".into();
    last_two["sort_order"] = "DESCEND".into();
    last_two["limit"] = "2".into();
    let get_first = json!({ "request_range": first_of(name) });
    let get_last_two = json!({ "request_range": last_two });
    let request = json!({ "success": [put(&own, lease), get_first, get_last_two] });
    let answer = client.call("kv/txn", &request, None)?.result;
    let revision = number(&answer["header"]["revision"]);
    let first = found_by(&answer, 1)?.into_iter().next();
    let mut last_two = found_by(&answer, 2)?.into_iter();
    match last_two.next() {
        Some(last) if last.key == own => {
            Ok(Line { revision, own: Some(last), first, older: last_two.next() })
        }
        // A server did as it was told and did not say so, and others have come since.
        _ => read(client, &own)?
            .map_or_else(|| Err(Failure::unexpected(&answer)), |own| turn(client, &own)),
    }
}

/// Whether it is our turn. Nothing is written.
pub(super) fn turn(client: &Client, own: &Entry) -> Result<Line, Failure> {
    let name = &client.settings.name;
    let mut older = all_of(name);
    older["sort_target"] = "CREATE".into();
    older["sort_order"] = "DESCEND".into();
    older["limit"] = "1".into();
    older["max_create_revision"] = (own.created - 1).to_string().into();
    let gets =
        [only(&own.key), first_of(name), older].map(|range| json!({ "request_range": range }));
    let answer = client.call("kv/txn", &json!({ "success": gets }), None)?.result;
    let find = |index| found_by(&answer, index).map(|found| found.into_iter().next());
    Ok(Line {
        revision: number(&answer["header"]["revision"]),
        // Another one under the same key is not ours.
        own: find(0)?.filter(|found| found.created == own.created),
        first: find(1)?,
        older: find(2)?,
    })
}

pub(super) fn grant(client: &Client, lease: i64) -> Result<Answer, Failure> {
    let ttl = client.settings.ttl.to_string();
    client.call("lease/grant", &json!({ "ID": lease.to_string(), "TTL": ttl }), None)
}

/// What a watch is to tell of: that this key is deleted, after `revision`.
pub(super) fn deletion_of(entry: &Entry, revision: u64) -> Value {
    json!({ "create_request": {
        "key": entry.raw,
        "start_revision": (revision + 1).to_string(),
        "filters": ["NOPUT"],
    } })
}

fn put(key: &str, lease: i64) -> Value {
    let value = format!("{} {}", host(), process::id());
    json!({ "request_put": { "key": encode(key), "value": encode(&value), "lease": lease.to_string() } })
}

fn host() -> String {
    let name = uname().nodename().to_string_lossy().into_owned();
    if is_plain(&name) { name } else { "?".to_owned() }
}

fn only(key: &str) -> Value {
    json!({ "key": encode(key) })
}

/// `NAME/` up to `NAME0`: a `0` follows a `/`.
fn all_of(name: &str) -> Value {
    json!({ "key": encode(&format!("{name}/")), "range_end": encode(&format!("{name}0")) })
}

fn first_of(name: &str) -> Value {
    let mut range = all_of(name);
    range["sort_target"] = "CREATE".into();
    range["sort_order"] = "ASCEND".into();
    range["limit"] = "1".into();
    range
}

fn found_by(answer: &Value, index: usize) -> Result<Vec<Entry>, Failure> {
    entries(&answer["responses"][index]["response_range"])
}

fn entries(range: &Value) -> Result<Vec<Entry>, Failure> {
    let kvs = range["kvs"].as_array().map_or(&[][..], Vec::as_slice);
    let entry = |kv: &Value| {
        let key = decode(&kv["key"]).filter(|key| !key.is_empty())?;
        let created = Some(number(&kv["create_revision"])).filter(|&it| it > 0)?;
        let holder = holder(&key, &decode(&kv["value"])?);
        Some(Entry { key, raw: kv["key"].as_str()?.to_owned(), created, holder })
    };
    kvs.iter().map(|kv| entry(kv).ok_or_else(|| Failure::unexpected(range))).collect()
}

fn holder(key: &str, value: &str) -> String {
    match value.split_once(' ') {
        Some((host, pid)) if is_plain(host) && pid.parse::<u32>().is_ok() => {
            format!("process {pid} on {host}")
        }
        _ => format!("the owner of {key}"),
    }
}

fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.chars().all(|it| it.is_ascii_graphic())
}

/// 64-bit numbers come as strings, and zero is left out.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// An empty one is left out.
fn decode(value: &Value) -> Option<String> {
    let bytes = STANDARD.decode(value.as_str().unwrap_or("")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
