//! Any bytes as a record: nothing panics, and no reader signals another process than the one that we name.
//!
//! Three readers are implemented here from their documentation, independently of the crate: Go's `Sscanln`,
//! systemd's `PIDFile=` and `kill $(cat FILE)` in a POSIX shell. `PROPTEST_CASES=1000000 cargo test agreement`
//! is the long form; the default is 256 cases a property.

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

/// `fmt.Sscanln(text, &pid)` into an int: spaces, a sign, a number whose prefix tells its base, spaces, the end
/// of a line or of the text. The Go package then refuses a number that is not positive.
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

/// `read_one_line_file` and `parse_pid`: a line ends at `\n`, `\r` or NUL, and strtoul(3) with base 0 must
/// consume all of it.
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

/// What `kill $(cat FILE)` signals first: the shell drops NULs, and a word ends at a blank or newline. The word
/// is a decimal number; dash accepts some further bytes in it, such as a sign or `\r`, and bash others. `kill`
/// goes on to further words: a shell knows no lines here.
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

/// The pid that we read, of a live or dead process.
fn ours(sandbox: &Sandbox, record: &[u8]) -> Option<u32> {
    fs::write(sandbox.path(), record).unwrap();
    match sandbox.lockfile().owner() {
        Ok(owner) => Some(owner.expect("the file is there")),
        Err(Error::DeadOwner { pid, .. }) => Some(pid),
        Err(Error::InvalidPid { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Pieces of pid files, and bytes that readers may misread.
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

/// Runs `test` for records of both kinds. Failed cases are printed and not written to a file.
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
fn where_we_read_a_pid_no_reader_reads_another_one() {
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
fn a_reader_refuses_a_pid_that_we_accept_only_for_blanks_after_it() {
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
fn a_pid_that_all_readers_agree_on_is_accepted_by_us() {
    for_any_record(|sandbox, record| {
        let agreed = go(record);
        let Reading::Pid(pid) = agreed else {
            return;
        };
        // Two things that no program writes are left out: blanks other than ASCII's, and zeros before a pid
        // below eight, which is the same number in octal.
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
