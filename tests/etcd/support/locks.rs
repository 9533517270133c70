//! Locks and policies as most tests want them.

use std::time::Duration;

use pidlockfile::etcd::EtcdLock;
use pidlockfile::retry::{Jitter, RetryPolicy};

/// The shortest that the servers of these tests grant.
pub const TTL: Duration = Duration::from_secs(1);

/// For a holder that must not lose the lock because this machine is busy.
pub const LONG_TTL: Duration = Duration::from_secs(10);

pub fn lock_at(endpoint: &str, name: &str) -> EtcdLock {
    lock_by(&[endpoint.to_owned()], name)
}

pub fn lock_by(endpoints: &[String], name: &str) -> EtcdLock {
    let lock = EtcdLock::new(endpoints, name).unwrap();
    // This machine may be busy.
    lock.ttl(LONG_TTL).request_timeout(Duration::from_secs(5))
}

/// Waits for as long as it takes.
pub fn patient() -> RetryPolicy {
    quick(None)
}

/// Waits so long.
pub fn at_most(limit: Duration) -> RetryPolicy {
    quick(Some(limit))
}

fn quick(limit: Option<Duration>) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_delay(Duration::from_millis(10))
        .max_delay(Duration::from_millis(100))
        .jitter(Jitter::None)
        .max_attempts(None)
        .max_elapsed(limit)
        .build()
        .unwrap()
}
