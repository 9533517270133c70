//! What the tests ask etcd themselves, by its JSON gateway; and what passes through the proxy.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A request or an answer: the head as it came, line ends included, and the body if its length is known.
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    /// The next message of a connection that is kept alive; `None` at its end.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Message>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if from.read_line(&mut head)? == 0 {
                return Ok(None);
            }
        }
        let mut body =
            vec![0; header(&head, "content-length").map_or(0, |text| text.parse().unwrap())];
        from.read_exact(&mut body)?;
        Ok(Some(Message { head, body }))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// One request on a connection of its own: status and body.
pub fn request(address: &str, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let length = body.len();
    // In 1.0 the answer ends with the connection, and comes in one piece.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut rest = String::new();
    reader.read_to_string(&mut rest)?;
    let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// A request that the server must answer well.
#[track_caller]
pub fn post(address: &str, path: &str, body: &Value) -> Value {
    let (status, body) = request(address, "POST", path, &body.to_string()).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

pub fn encode(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

pub fn decode(value: &Value) -> String {
    String::from_utf8(STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()).unwrap()
}

/// The number in a field, which comes as a string, and is left out where it is 0.
pub fn number(value: &Value) -> u64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

/// A key below a lock's name, in the order in which they stand in line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub created: u64,
    pub lease: u64,
}

/// The line of a lock: the first is the owner.
pub fn line(address: &str, name: &str) -> Vec<Entry> {
    let (key, range_end) = (encode(format!("{name}/")), encode(format!("{name}0")));
    let query = json!({"key": key, "range_end": range_end, "sort_target": "CREATE", "sort_order": "ASCEND"});
    let answer = post(address, "/v3/kv/range", &query);
    let keys = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice).iter();
    keys.map(|key| Entry {
        key: decode(&key["key"]),
        value: decode(&key["value"]),
        created: number(&key["create_revision"]),
        lease: number(&key["lease"]),
    })
    .collect()
}

/// The leases that the server knows.
pub fn leases(address: &str) -> Vec<u64> {
    let answer = post(address, "/v3/lease/leases", &json!({}));
    let leases = answer["leases"].as_array().map_or(&[][..], Vec::as_slice).iter();
    leases.map(|lease| number(&lease["ID"])).collect()
}

pub fn put(address: &str, key: &str, value: &str) -> u64 {
    let answer = post(address, "/v3/kv/put", &json!({"key": encode(key), "value": encode(value)}));
    number(&answer["header"]["revision"])
}

pub fn delete(address: &str, key: &str) {
    post(address, "/v3/kv/deleterange", &json!({"key": encode(key)}));
}
