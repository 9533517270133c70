//! Processes fight over one lock while they are killed, stopped, replaced and handed stale files.
//!
//! `TORTURE_SECONDS=600 cargo test --release --test torture` is the long form; the default is short enough for
//! every test run. A fight ends at the first violation. With `PIDLOCKFILE_TEST_DIR` the fights are in that
//! directory; `tests/filesystems.sh` uses this. `tests/torture_mutants.sh` shows what the torture is worth: it
//! runs the same fights with broken copies of the crate.

mod arena;
mod chance;
mod fight;
mod pids;
mod referee;
mod script;
mod verdict;
mod witness;
mod worker;

#[path = "../it/support/refuse.rs"]
mod refuse;
#[path = "../it/support/sandbox.rs"]
#[allow(dead_code, reason = "the other test crate needs more of it")]
mod sandbox;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::fight::{Heir, Terms, fight};
use crate::sandbox::{is_root, require, test_dir};
use crate::worker::Rules;

const DEFAULT_SECONDS: f64 = 3.0;

fn duration() -> Duration {
    let seconds = env::var("TORTURE_SECONDS").map(|text| text.parse().expect("a number"));
    Duration::from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS))
}

const DEFAULT: Rules = Rules { kernel_lock_only: false, refused: &[] };
const KERNEL_LOCK_ONLY: Rules = Rules { kernel_lock_only: true, ..DEFAULT };
const EXCLUSIVE: Rules = Rules { refused: &["tmpfile"], ..DEFAULT };

fn with_kills(rules: Rules) -> Terms {
    Terms { rules, kills: true, heir: Heir::Successor }
}

fn without_kills(rules: Rules) -> Terms {
    Terms { rules, kills: false, heir: Heir::Successor }
}

/// The first of these directories that can be written and is, or is not, on a tmpfs.
fn writable(tmpfs: bool, dirs: [&Path; 3]) -> Option<PathBuf> {
    let fits = |dir: &&Path| is_tmpfs(dir) == tmpfs && tempfile::tempdir_in(dir).is_ok();
    dirs.into_iter().find(fits).map(Path::to_owned)
}

fn is_tmpfs(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC)
}

#[test]
fn no_two_own_it_on_a_disk() {
    let build_dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let disk = writable(false, [&env::temp_dir(), Path::new("/var/tmp"), build_dir]);
    require!(disk.is_some(), "no directory on a disk can be written");
    fight(&disk.unwrap(), with_kills(DEFAULT), duration());
}

#[test]
fn no_two_own_it_in_memory() {
    let memory = writable(true, [&env::temp_dir(), Path::new("/dev/shm"), Path::new("/run")]);
    require!(memory.is_some(), "no tmpfs can be written");
    fight(&memory.unwrap(), with_kills(DEFAULT), duration());
}

#[test]
#[ignore = "tests/filesystems.sh gives it a directory"]
fn no_two_own_it_in_the_given_directory() {
    fight(&test_dir(), with_kills(DEFAULT), duration());
}

#[test]
fn no_two_own_it_with_the_kernel_lock_only() {
    fight(&test_dir(), with_kills(KERNEL_LOCK_ONLY), duration());
}

#[test]
fn no_two_own_it_without_kills() {
    fight(&test_dir(), without_kills(DEFAULT), duration());
}

#[test]
fn no_two_own_it_without_kills_with_the_kernel_lock_only() {
    fight(&test_dir(), without_kills(KERNEL_LOCK_ONLY), duration());
}

#[test]
fn no_two_own_it_by_exclusive_creation() {
    fight(&test_dir(), with_kills(EXCLUSIVE), duration());
}

#[test]
fn no_two_own_it_by_exclusive_creation_with_the_kernel_lock_only() {
    fight(&test_dir(), with_kills(Rules { kernel_lock_only: true, ..EXCLUSIVE }), duration());
}

#[test]
fn no_two_own_it_in_a_pid_namespace_where_pids_are_recycled_at_once() {
    // Its /proc is the one of the outer namespace.
    run_in_a_namespace("where_pids_are_recycled", &[]);
}

#[test]
fn a_killed_owners_lock_is_taken_at_once_although_a_stranger_has_its_pid() {
    run_in_a_namespace("where_a_stranger_has_the_pid", &["--mount-proc"]);
}

#[test]
fn a_killed_owners_lock_is_taken_at_once_by_exclusive_creation_although_a_stranger_has_its_pid() {
    run_in_a_namespace("where_a_stranger_has_the_pid_by_exclusive_creation", &["--mount-proc"]);
}

#[test]
fn no_two_own_it_where_a_script_writes_into_the_leftover() {
    run_in_a_namespace("where_a_script_writes", &["--mount-proc"]);
}

#[test]
fn no_two_own_it_by_exclusive_creation_where_a_script_writes_into_the_leftover() {
    run_in_a_namespace("where_a_script_writes_by_exclusive_creation", &["--mount-proc"]);
}

/// Runs a test of the module [`in_a_namespace`] as the first process of a new pid namespace.
fn run_in_a_namespace(test: &str, options: &[&str]) {
    require!(is_root(), "needs root, for a pid namespace");
    let unshare = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork"]).args(options).arg(program);
        command
    };
    let works = unshare(Path::new("true")).status().is_ok_and(|status| status.success());
    require!(works, "unshare(1) is missing or pid namespaces are forbidden");
    let test = format!("in_a_namespace::{test}");
    let status = unshare(&env::current_exe().unwrap())
        .args([&test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

mod in_a_namespace {
    use super::*;

    fn fight_here(rules: Rules, heir: Heir) {
        assert_eq!(std::process::id(), 1, "only unshare runs this");
        assert!(fs::exists("/proc/sys/kernel/ns_last_pid").unwrap());
        fight(&test_dir(), Terms { rules, kills: true, heir }, duration());
    }

    #[test]
    #[ignore = "not a test by itself: what runs in the pid namespace"]
    fn where_pids_are_recycled() {
        fight_here(DEFAULT, Heir::Successor);
    }

    #[test]
    #[ignore = "not a test by itself: what runs in the pid namespace"]
    fn where_a_stranger_has_the_pid() {
        fight_here(DEFAULT, Heir::Stranger);
    }

    #[test]
    #[ignore = "not a test by itself: what runs in the pid namespace"]
    fn where_a_stranger_has_the_pid_by_exclusive_creation() {
        fight_here(EXCLUSIVE, Heir::Stranger);
    }

    #[test]
    #[ignore = "not a test by itself: what runs in the pid namespace"]
    fn where_a_script_writes() {
        fight_here(DEFAULT, Heir::Script);
    }

    #[test]
    #[ignore = "not a test by itself: what runs in the pid namespace"]
    fn where_a_script_writes_by_exclusive_creation() {
        fight_here(EXCLUSIVE, Heir::Script);
    }
}
