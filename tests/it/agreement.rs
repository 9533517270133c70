//! Any bytes as a record: no panic, and no reader that signals one process where we name another.
//!
//! Three readers are written down here as they are documented, apart from the crate: Go's `Sscanln`, systemd's
//! `PIDFile=` and `kill $(cat FILE)` in a POSIX shell. `PROPTEST_CASES=1000000 cargo test agreement` is the
//! long form; the default is 256 cases a property.

use std::fs;

use pidlockfile::Error;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::sample::select;
use proptest::test_runner::TestRunner;

use crate::support::sandbox::Sandbox;

/// What a reader does with a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    Pid(i64),
    Refused,
}

/// `fmt.Sscanln(text, &pid)` into an int, of which the Go package refuses those that are not positive: spaces,
/// a sign, a number whose prefix tells its base, spaces, the end of a line or of the text.
fn go(record: &[u8]) -> Reading {
    let text = String::from_utf8_lossy(record);
    let is_space = |c: char| c != '\n' && (c.is_whitespace() || c == '\u{85}');
    let text = text.trim_start_matches(is_space);
    let (sign, text) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (if text.starts_with('-') { -1 } else { 1 }, rest),
        None => (1, text),
    };
    let lower = text.to_ascii_lowercase();
    let (radix, prefix) = match lower.get(..2) {
        Some("0x") => (16, 2),
        Some("0b") => (2, 2),
        Some("0o") => (8, 2),
        _ if lower.starts_with('0') => (8, 0),
        _ => (10, 0),
    };
    let text = &text[prefix..];
    let digits = text.find(|c: char| !c.is_digit(radix) && c != '_').unwrap_or(text.len());
    let (digits, rest) = text.split_at(digits);
    let rest = rest.trim_start_matches(is_space);
    match i64::from_str_radix(&digits.replace('_', ""), radix) {
        Ok(pid) if pid > 0 && sign > 0 && (rest.is_empty() || rest.starts_with('\n')) => {
            Reading::Pid(pid)
        }
        _ => Reading::Refused,
    }
}

/// `read_one_line_file` and `parse_pid`: a line ends at `\n`, `\r` or NUL; strtoul(3) with base 0 must use it up.
fn systemd(record: &[u8]) -> Reading {
    let line = record.split(|byte| b"\n\r\0".contains(byte)).next().unwrap_or_default();
    let Ok(line) = str::from_utf8(line) else {
        return Reading::Refused;
    };
    let number = line.trim_start_matches([' ', '\t', '\x0b', '\x0c']);
    let number = number.strip_prefix('+').unwrap_or(number);
    let lower = number.to_ascii_lowercase();
    let (radix, digits) = match lower.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if lower.starts_with('0') => (8, lower.as_str()),
        None => (10, lower.as_str()),
    };
    if digits.starts_with('+') {
        return Reading::Refused;
    }
    match i32::from_str_radix(digits, radix) {
        Ok(pid) if pid > 0 => Reading::Pid(pid.into()),
        _ => Reading::Refused,
    }
}

/// What `kill $(cat FILE)` signals first: NULs are dropped, and words end at a blank or newline. The word is a decimal
/// number; of further bytes on it, such as a sign or `\r`, dash lets some pass and bash others. It goes on to
/// further words: a shell has no notion of lines here.
fn kill(record: &[u8]) -> Reading {
    let bytes: Vec<u8> = record.iter().copied().filter(|&byte| byte != 0).collect();
    let mut words = bytes.split(|byte| b" \t\n".contains(byte)).filter(|word| !word.is_empty());
    let word = words.next().unwrap_or_default();
    let number = str::from_utf8(word).ok().filter(|word| word.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|number| number.parse().ok()) {
        Some(pid) if pid > 0 => Reading::Pid(pid),
        _ => Reading::Refused,
    }
}

/// The pid that we name, alive or dead.
fn ours(sandbox: &Sandbox, record: &[u8]) -> Option<u32> {
    fs::write(sandbox.path(), record).unwrap();
    match sandbox.lockfile().owner() {
        Ok(owner) => Some(owner.expect("the file is there")),
        Err(Error::DeadOwner { pid, .. }) => Some(pid),
        Err(Error::InvalidPid { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What pid files are made of, and what may trip a reader.
const PIECES: &[&str] = &[
    "1",
    "7",
    "42",
    "4194304",
    "2147483647",
    "2147483648",
    "4294967297",
    "0",
    "00",
    "0x",
    "0b",
    "_",
    "+",
    "-",
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\n\r",
    "\0",
    "\x0b",
    "\x0c",
    "\u{85}",
    "\u{a0}",
    "\u{2003}",
    "٣",
    "a",
    "pid: ",
    "/usr/bin/postgres",
];

/// Runs `test` for records of both kinds. It leaves no file behind for the cases that failed: they are printed.
fn for_any_record(test: impl Fn(&Sandbox, &[u8])) {
    let sandbox = Sandbox::new();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let pieces = vec(select(PIECES), 0..6).prop_map(|pieces| pieces.concat().into_bytes());
    for records in [pieces.boxed(), vec(any::<u8>(), 0..100).boxed()] {
        let result = TestRunner::new(config.clone()).run(&records, |record| {
            test(&sandbox, &record);
            Ok(())
        });
        result.unwrap();
    }
}

#[test]
fn where_we_name_a_pid_no_reader_takes_the_record_for_another() {
    for_any_record(|sandbox, record| {
        let Some(pid) = ours(sandbox, record) else {
            return;
        };
        for (reader, reading) in
            [("go", go(record)), ("systemd", systemd(record)), ("kill", kill(record))]
        {
            let same = [Reading::Pid(pid.into()), Reading::Refused].contains(&reading);
            assert!(same, "{reader} reads {reading:?} where we read {pid} in {record:?}");
        }
    });
}

#[test]
fn where_we_name_a_pid_and_a_reader_refuses_it_blanks_after_the_pid_are_why() {
    for_any_record(|sandbox, record| {
        let Some(pid) = ours(sandbox, record) else {
            return;
        };
        assert_eq!(go(record), Reading::Pid(pid.into()), "{record:?}");
        let line = record.split(|&byte| byte == b'\n').next().unwrap();
        let digits = pid.to_string().into_bytes();
        let leading_blanks = line.iter().take_while(|byte| b" \t".contains(byte)).count();
        if line[leading_blanks..] == digits {
            assert_eq!(systemd(record), Reading::Pid(pid.into()), "{record:?}");
            assert_eq!(kill(record), Reading::Pid(pid.into()), "{record:?}");
        }
    });
}

#[test]
fn where_all_readers_agree_on_a_pid_we_name_it_and_so_rob_no_owner() {
    for_any_record(|sandbox, record| {
        let agreed = go(record);
        let Reading::Pid(pid) = agreed else {
            return;
        };
        // Left out is what no program writes: blanks of other scripts, and zeros before a pid below eight,
        // which is the same number in octal.
        let is_padded = record.trim_ascii_start().starts_with(b"0");
        let is_plain = !is_padded && record.iter().all(|byte| b"0123456789 \t\r\n".contains(byte));
        if is_plain && systemd(record) == agreed && kill(record) == agreed {
            assert_eq!(ours(sandbox, record).map(i64::from), Some(pid), "{record:?}");
        }
    });
}

#[test]
fn what_we_write_means_the_same_to_every_reader() {
    for pid in [1, 9, 10, 4_194_304, 2_147_483_647_u32] {
        let record = crate::support::sandbox::record_of(pid).into_bytes();
        for reading in [go(&record), systemd(&record), kill(&record)] {
            assert_eq!(reading, Reading::Pid(pid.into()));
        }
    }
}

#[test]
fn the_readers_differ_where_their_documents_say_so() {
    use Reading::{Pid, Refused};
    let table: [(&str, [Reading; 3]); 12] = [
        ("42\n", [Pid(42), Pid(42), Pid(42)]),
        ("42", [Pid(42), Pid(42), Pid(42)]),
        ("  42\n", [Pid(42), Pid(42), Pid(42)]),
        ("42 \n", [Pid(42), Refused, Pid(42)]),
        ("42\r\n", [Pid(42), Pid(42), Refused]),
        ("42\n/usr/bin\n", [Pid(42), Pid(42), Pid(42)]),
        ("42 7\n", [Refused, Refused, Pid(42)]),
        ("042\n", [Pid(34), Pid(34), Pid(42)]),
        ("0x2a\n", [Pid(42), Pid(42), Refused]),
        ("+42\n", [Pid(42), Pid(42), Refused]),
        ("\n42\n", [Refused, Refused, Pid(42)]),
        ("4\x002\n", [Refused, Pid(4), Pid(42)]),
    ];
    for (record, expected) in table {
        let record = record.as_bytes();
        assert_eq!([go(record), systemd(record), kill(record)], expected, "{record:?}");
    }
}
