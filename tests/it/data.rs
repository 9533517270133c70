//! A mistyped path removes nobody's data: a file that cannot be a lock file stays as it is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use pidlockfile::Error;
use proptest::prelude::*;

use crate::support::sandbox::{Bystander, DEAD_PID, Sandbox, record_of};

/// Whether the first line is a number, valid pid or not, by other code than the crate's.
fn begins_with_a_number(content: &[u8]) -> bool {
    let line = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    let text = text.trim_matches(|char: char| char.is_ascii_whitespace() || char == '\0');
    text.strip_prefix(['-', '+'])
        .unwrap_or(text)
        .parse::<f64>()
        .is_ok_and(|number| number.fract() == 0.0)
}

fn is_blank(content: &[u8]) -> bool {
    content.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

fn assert_stays(content: &[u8]) {
    let sandbox = Sandbox::new();
    sandbox.plant(content);
    let before = fs::metadata(sandbox.path()).unwrap();
    for lockfile in [sandbox.lockfile(), sandbox.lockfile().kernel_lock_only()] {
        match lockfile.try_lock() {
            Err(error @ Error::NotAPidFile { .. }) => assert!(!error.is_temporary()),
            other => panic!("{other:?}"),
        }
        let _ = lockfile.owner();
        #[cfg(feature = "retry")]
        {
            let policy = pidlockfile::retry::RetryPolicy::default();
            pidlockfile::retry::acquire_with_retry(&lockfile, &policy).unwrap_err();
        }
    }
    let after = fs::metadata(sandbox.path()).unwrap();
    assert_eq!(
        (after.ino(), after.mtime(), after.mtime_nsec(), after.ctime_nsec()),
        (before.ino(), before.mtime(), before.mtime_nsec(), before.ctime_nsec())
    );
    assert_eq!(fs::read(sandbox.path()).unwrap(), content);
    assert_eq!(sandbox.names(), ["test.pid"]);
}

fn assert_replaced(content: impl AsRef<[u8]>) {
    let sandbox = Sandbox::new();
    sandbox.plant(content.as_ref());
    sandbox.assert_free_and_clean();
}

proptest! {
    #[test]
    fn no_file_over_16_bytes_whose_first_line_is_no_number_is_ever_touched(
        content in proptest::collection::vec(any::<u8>(), 17..200),
        text in "[ -~\n]{17,300}",
    ) {
        for content in [content, text.into_bytes()] {
            if !begins_with_a_number(&content) && !is_blank(&content) {
                assert_stays(&content);
            }
        }
    }

    #[test]
    fn a_number_in_the_first_line_is_a_stale_record_whatever_follows(
        number in "[-+]?[0-9]{12,30}",
        rest in "(\n[ -~\n]{0,300})?",
    ) {
        assert_replaced(number + &rest);
    }
}

#[test]
fn a_script_that_locks_itself_stays() {
    assert_stays(
        b"#!/bin/sh\n[ \"$LOCKED\" = \"$0\" ] || exec with_lock -n \"$0\" \"$0\" \"$@\"\n",
    );
}

#[test]
fn a_data_file_stays() {
    assert_stays(br#"{"users": [1, 2, 3]}"#);
    assert_stays(b"12345 is a number, but not the only word of its line\n");
    assert_stays(b"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\nafter many blanks");
    assert_stays("1.5e3, 2.5e3, 3.5e3\n".as_bytes());
}

#[test]
fn ten_megabytes_of_noise_stay() {
    let mut noise = vec![0; 10_000_000];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    assert_stays(&noise);
}

/// It could be a disk image or a reserved file. After a crash of the machine, a record has far fewer NULs.
#[test]
fn a_megabyte_of_nuls_stays() {
    assert_stays(&vec![0; 1 << 20]);
}

#[test]
fn blanks_and_nuls_left_by_a_crash_of_the_machine_are_replaced() {
    for len in [1, 11, 17, 64, 65, 4096] {
        assert_replaced(vec![0; len]);
        assert_replaced(" ".repeat(len));
        assert_replaced("\n\0".repeat(len / 2));
    }
}

#[test]
fn a_file_of_up_to_sixteen_bytes_is_replaced() {
    assert_replaced("sixteen bytes ok");
    assert_stays(b"seventeen bytes..");
}

#[test]
fn a_dead_pid_with_further_lines_is_a_stale_record() {
    assert_replaced(record_of(DEAD_PID) + "further lines\nof another program's\n");
}

#[test]
fn a_live_pid_with_further_lines_is_an_owner() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()) + "further lines\nof another program's\n");
    assert!(matches!(sandbox.lockfile().try_lock(), Err(Error::Busy { .. })));
}
