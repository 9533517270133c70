//! The auto traits of every public type: a private change must not take one away from users.

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

fn is_sent_and_shared<T: Send + Sync + Unpin + Debug + 'static>() {}
fn is_all<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug + 'static>() {}

#[test]
fn a_lock_and_what_comes_of_it_can_be_sent_shared_and_kept_across_a_panic() {
    use pidlockfile::{Error, Holder, LockGuard, Lockfile};
    is_all::<Lockfile>();
    is_all::<LockGuard>();
    is_all::<Holder>();
    // It keeps an `io::Error`, which is not unwind-safe.
    is_sent_and_shared::<Error>();
}

#[cfg(feature = "retry")]
#[test]
fn a_policy_its_runs_and_their_errors_can_be_sent_shared_and_kept_across_a_panic() {
    use pidlockfile::retry::{
        Again, Attempt, CancelToken, GaveUp, InvalidPolicy, Jitter, Retry, RetryError, RetryPolicy,
        RetryPolicyBuilder, Watch,
    };
    fn stays_in_its_thread<T: Unpin>() {}
    is_all::<Again>();
    is_all::<CancelToken>();
    is_all::<GaveUp>();
    is_all::<InvalidPolicy>();
    is_all::<Jitter>();
    is_all::<Retry>();
    is_all::<RetryError<()>>();
    is_all::<RetryPolicy>();
    is_all::<RetryPolicyBuilder>();
    is_sent_and_shared::<Watch>();
    // It borrows the error of an attempt, which any type can be.
    stays_in_its_thread::<Attempt<'_>>();
}

#[cfg(feature = "etcd")]
#[test]
fn a_lock_kept_by_etcd_and_what_comes_of_it_can_be_sent_and_shared() {
    use pidlockfile::etcd::{EtcdError, EtcdGuard, EtcdLock, EtcdOwner};
    is_all::<EtcdOwner>();
    is_sent_and_shared::<EtcdError>();
    // What the HTTP client and TLS keep inside is not unwind-safe.
    is_sent_and_shared::<EtcdLock>();
    is_sent_and_shared::<EtcdGuard>();
}

#[test]
fn every_type_of_the_public_api_is_named_here() {
    let types = include_str!("../public-api.txt").lines().filter_map(|line| {
        let (path, what) = line.split_once(": ")?;
        let is_type = what.contains("pub struct ") || what.contains("pub enum ");
        is_type.then(|| path.rsplit("::").next().unwrap())
    });
    let types: Vec<&str> = types.collect();
    assert!(types.len() >= 15, "{types:?}");
    for name in types {
        let named = [format!("<{name}>"), format!("<{name}<")];
        assert!(named.iter().any(|it| include_str!("autotraits.rs").contains(it)), "{name}");
    }
}
