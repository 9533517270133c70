//! Answers that never come: what the server did unheard does not stay.

use std::thread;
use std::time::Duration;

use pidlockfile::etcd::{EtcdError, EtcdLock};

use crate::support::http::{leases, line};
use crate::support::locks::{at_most, lock_at, patient};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, until};

/// What is left to its TTL stays longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(600);

fn arena() -> (Server, Proxy, EtcdLock) {
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let lock =
        lock_at(&proxy.endpoint(), "name").ttl(FOR_EVER).request_timeout(Duration::from_secs(1));
    (server, proxy, lock)
}

fn assert_clean(server: &Server) {
    until("no lease is left", || leases(&server.address()).is_empty());
    assert_eq!(line(&server.address(), "name"), []);
}

fn try_lock_leaves_nothing(path: &'static str, fate: Fate) {
    require_etcd!();
    let (server, proxy, lock) = arena();
    proxy.set(path, fate);
    let error = lock.try_lock().unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error:?}");
    assert!(error.is_temporary());
    assert_clean(&server);
    proxy.let_go();
    lock.try_lock().unwrap().unlock().unwrap();
    assert_clean(&server);
}

#[test]
fn try_lock_leaves_nothing_if_the_answer_to_the_grant_is_swallowed() {
    try_lock_leaves_nothing("/lease/grant", Fate::Unanswered);
}

#[test]
fn try_lock_leaves_nothing_if_the_connection_ends_after_the_grant() {
    try_lock_leaves_nothing("/lease/grant", Fate::HungUp);
}

#[test]
fn try_lock_leaves_nothing_if_the_answer_to_the_txn_is_swallowed() {
    try_lock_leaves_nothing("/kv/txn", Fate::Unanswered);
}

#[test]
fn try_lock_leaves_nothing_if_the_connection_ends_after_the_txn() {
    try_lock_leaves_nothing("/kv/txn", Fate::HungUp);
}

/// The revoke bars a put that comes after it.
#[test]
fn try_lock_leaves_nothing_if_the_txn_comes_to_the_server_after_the_revoke() {
    require_etcd!();
    let (server, proxy, lock) = arena();
    proxy.set("/kv/txn", Fate::Held);
    assert!(matches!(lock.try_lock(), Err(EtcdError::Unreachable { .. })));
    assert_clean(&server);
    assert!(proxy.count("/lease/revoke") > 0);
    proxy.let_go();
    proxy.wait_for_delivery(1);
    assert_clean(&server);
}

fn a_run_locks_in_the_end(path: &'static str, fate: Fate) {
    require_etcd!();
    let (server, proxy, lock) = arena();
    proxy.set(path, fate);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock).unwrap());
        proxy.wait_for(path, 2);
        proxy.let_go();
        let guard = waiter.join().unwrap();
        guard.verify().unwrap();
        assert_eq!(line(&server.address(), "name")[0].created, guard.fencing_token());
        guard.unlock().unwrap();
    });
    assert_clean(&server);
}

#[test]
fn a_run_locks_in_the_end_although_answers_to_grants_are_swallowed() {
    a_run_locks_in_the_end("/lease/grant", Fate::Unanswered);
}

#[test]
fn a_run_locks_in_the_end_although_answers_to_txns_are_swallowed() {
    a_run_locks_in_the_end("/kv/txn", Fate::Unanswered);
}

#[test]
fn a_run_locks_in_the_end_although_connections_end_after_txns() {
    a_run_locks_in_the_end("/kv/txn", Fate::HungUp);
}

/// The deadline may cut off an attempt that has put its key: the key must not stay for the whole TTL.
#[test]
fn a_run_that_gives_up_in_the_middle_of_its_txn_leaves_nothing() {
    require_etcd!();
    let (server, proxy, lock) = arena();
    let lock = lock.request_timeout(Duration::from_secs(3));
    proxy.set("/kv/txn", Fate::Unanswered);
    let error = at_most(Duration::from_millis(500)).run().acquire(&lock).unwrap_err();
    assert!(error.is_busy());
    assert_clean(&server);
}

#[test]
fn unlock_says_that_nobody_answered_and_the_key_is_gone_all_the_same() {
    require_etcd!();
    let (server, proxy, lock) = arena();
    let guard = lock.try_lock().unwrap();
    proxy.set("/lease/revoke", Fate::Unanswered);
    let error = guard.unlock().unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error:?}");
    proxy.let_go();
    assert_clean(&server);
}

#[test]
fn a_guard_that_is_dropped_while_nothing_passes_is_released_later() {
    require_etcd!();
    let (server, proxy, lock) = arena();
    let guard = lock.try_lock().unwrap();
    proxy.cut();
    drop(guard);
    assert_eq!(line(&server.address(), "name").len(), 1);
    proxy.mend();
    assert_clean(&server);
}
