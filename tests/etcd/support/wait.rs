//! To wait for what must come true, and to skip what can't be tested here.

use std::env;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

/// Far more than anything takes, so that a test fails and does not hang where a thing never comes true, as in the mutants' tests.
pub fn patience() -> Duration {
    let seconds = env::var("ETCD_TEST_PATIENCE").map(|text| text.parse().expect("a number"));
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Asks until the answer is yes.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < patience(), "not within {:?}: {what}", patience());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Says on the real standard error, which the test harness does not capture, what was not tested. In CI all must
/// be.
pub fn skip(test: &str, reason: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Leaves the test where it cannot run, loudly.
macro_rules! require {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            $crate::support::wait::skip($crate::support::wait::test_name().as_str(), $reason);
            return;
        }
    };
}
pub(crate) use require;

macro_rules! require_etcd {
    () => {
        $crate::support::wait::require!(
            $crate::support::wait::has_etcd(),
            "etcd or etcdctl is not installed (Debian: etcd-server, etcd-client)"
        );
    };
}
pub(crate) use require_etcd;

pub fn has_etcd() -> bool {
    has("etcd", "--version") && has("etcdctl", "version")
}

pub fn has(program: &str, argument: &str) -> bool {
    let mut command = std::process::Command::new(program);
    command.arg(argument).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The name of the running test: no two have the same, so it serves as the name of a lock.
pub fn test_name() -> String {
    thread::current().name().unwrap_or("a test").replace("::", "/")
}
