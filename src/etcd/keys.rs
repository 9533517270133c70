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
use crate::etcd::clock::Moment;
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

/// What was found of our place in the line, all at one revision.
pub(super) struct Place {
    pub(super) revision: u64,
    /// The key before ours, after which it is our turn. If there is none, we own the lock.
    pub(super) older: Option<Entry>,
}

impl Entry {
    /// Whether this key is what was found: another one of that name is not ours.
    pub(super) fn is_same_as(&self, found: Option<&Entry>) -> bool {
        found.is_some_and(|found| found.created == self.created)
    }
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
    entries(&answer.result).map(first_in)
}

/// The key, if it is there.
pub(super) fn read(
    client: &Client,
    key: &str,
    deadline: Option<Moment>,
) -> Result<Option<Entry>, Failure> {
    let answer = client.call("kv/range", &only(key), deadline)?;
    entries(&answer.result).map(first_in)
}

/// Puts our key if there is no other: no line is passed. Another's is the error.
pub(super) fn take_if_free(client: &Client, lease: i64) -> Result<Result<Entry, Entry>, Failure> {
    let name = &client.settings.name;
    let own = key_of(name, lease);
    let mut is_empty = all_of(name);
    is_empty["target"] = "CREATE".into();
    is_empty["result"] = "EQUAL".into();
    is_empty["create_revision"] = "0".into();
    let get_first = json!({ "request_range": first_of(name) });
    let request =
        json!({ "compare": [is_empty], "success": [put(&own, lease)], "failure": [get_first] });
    let answer = client.call("kv/txn", &request, None).map_err(Failure::of_put)?.result;
    if answer["succeeded"].as_bool() == Some(true) {
        return Ok(Ok(own_entry(own, revision_of(&answer)?)));
    }
    match first_in(found_by(&answer, 0)?) {
        // A server did as it was told and did not say so: what is there is our own.
        Some(first) if first.key == own => Ok(Ok(first)),
        Some(first) => Ok(Err(first)),
        None => Err(Failure::unexpected(&answer)),
    }
}

/// Puts our key at the end of the line. Our key, and the owner's.
pub(super) fn stand(client: &Client, lease: i64) -> Result<(Entry, Entry), Failure> {
    let name = &client.settings.name;
    let own = key_of(name, lease);
    let mut put = put(&own, lease);
    put["request_put"]["prev_kv"] = true.into();
    let request = json!({ "success": [put, { "request_range": first_of(name) }] });
    let answer = client.call("kv/txn", &request, None).map_err(Failure::of_put)?.result;
    // A server may have done as it was told before and did not say so.
    let created =
        match number(&answer["responses"][0]["response_put"]["prev_kv"]["create_revision"]) {
            0 => revision_of(&answer)?,
            earlier => earlier,
        };
    let first = first_in(found_by(&answer, 1)?);
    first.map(|first| (own_entry(own, created), first)).ok_or_else(|| Failure::unexpected(&answer))
}

/// Where we are in the line; `None` if our key is gone. Nothing is written.
pub(super) fn turn(client: &Client, own: &Entry) -> Result<Option<Place>, Failure> {
    let mut older = all_of(&client.settings.name);
    older["sort_target"] = "CREATE".into();
    older["sort_order"] = "DESCEND".into();
    older["limit"] = "1".into();
    older["max_create_revision"] = own.created.saturating_sub(1).to_string().into();
    let gets = [only(&own.key), older].map(|range| json!({ "request_range": range }));
    let answer = client.call("kv/txn", &json!({ "success": gets }), None)?.result;
    // Another one under the same key is not ours.
    let is_there = first_in(found_by(&answer, 0)?).is_some_and(|it| it.created == own.created);
    let revision = revision_of(&answer)?;
    let older = first_in(found_by(&answer, 1)?);
    Ok(is_there.then_some(Place { revision, older }))
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

/// A token without one would not grow.
fn revision_of(answer: &Value) -> Result<u64, Failure> {
    let revision = Some(number(&answer["header"]["revision"])).filter(|&it| it > 0);
    revision.ok_or_else(|| Failure::unexpected(answer))
}

fn put(key: &str, lease: i64) -> Value {
    let value = format!("{} {}", host(), process::id());
    json!({ "request_put": { "key": encode(key), "value": encode(&value), "lease": lease.to_string() } })
}

fn host() -> String {
    let name = uname().nodename().to_string_lossy().into_owned();
    if is_plain(&name) { name } else { "?".to_owned() }
}

fn own_entry(key: String, created: u64) -> Entry {
    Entry { raw: encode(&key), holder: String::new(), key, created }
}

fn first_in(found: Vec<Entry>) -> Option<Entry> {
    found.into_iter().next()
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
