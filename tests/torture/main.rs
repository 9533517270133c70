//! Processes fight over one lock while they are killed, stopped, replaced and handed stale files.
//!
//! `TORTURE_SECONDS=600 cargo test --release --test torture` is the long form; the default is short enough for
//! every run. It ends at the first violation. What it is worth is shown by `tests/torture_mutants.sh`:
//! the same fight against four broken copies of the crate.

mod fight;
mod referee;
mod worker;

#[path = "../it/refuse.rs"]
mod refuse;
#[path = "../it/sandbox.rs"]
#[allow(dead_code, reason = "the other test crate needs more of it")]
mod sandbox;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::fight::fight;
use crate::sandbox::{is_root, require};
use crate::worker::Rules;

const DEFAULT_SECONDS: f64 = 3.0;

fn duration() -> Duration {
    let seconds = env::var("TORTURE_SECONDS").map(|text| text.parse().expect("a number"));
    Duration::from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS))
}

const RULES: Rules = Rules { kernel_lock_only: false, refused: &[] };
const NO_TMPFILE: &[&str] = &["tmpfile"];

/// The first directory of these that can be written and is, or is not, on a tmpfs.
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
    fight(&disk.unwrap(), RULES, duration());
}

#[test]
fn no_two_own_it_in_memory() {
    let memory = writable(true, [&env::temp_dir(), Path::new("/dev/shm"), Path::new("/run")]);
    require!(memory.is_some(), "no tmpfs can be written");
    fight(&memory.unwrap(), RULES, duration());
}

#[test]
fn no_two_own_it_with_the_kernel_lock_only() {
    fight(&env::temp_dir(), Rules { kernel_lock_only: true, ..RULES }, duration());
}

#[test]
fn no_two_own_it_where_temporaries_have_names() {
    fight(&env::temp_dir(), Rules { refused: NO_TMPFILE, ..RULES }, duration());
}

#[test]
fn no_two_own_it_where_temporaries_have_names_with_the_kernel_lock_only() {
    fight(&env::temp_dir(), Rules { kernel_lock_only: true, refused: NO_TMPFILE }, duration());
}

#[test]
fn no_two_own_it_in_a_pid_namespace_where_pids_are_recycled_at_once() {
    require!(is_root(), "needs root, for a pid namespace");
    let unshare = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork"]).arg(program);
        command
    };
    let works = unshare(Path::new("true")).status().is_ok_and(|status| status.success());
    require!(works, "unshare(1) is missing or pid namespaces are forbidden");
    let status = unshare(&env::current_exe().unwrap())
        .args(["in_a_namespace", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "not a test by itself: what runs in the pid namespace"]
fn in_a_namespace() {
    assert_eq!(std::process::id(), 1, "only unshare runs this");
    assert!(fs::exists("/proc/sys/kernel/ns_last_pid").unwrap());
    fight(&env::temp_dir(), RULES, duration());
}
