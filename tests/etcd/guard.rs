//! A guard on a healthy server: what it says of itself, and what its end leaves.

use std::time::Instant;

use pidlockfile::etcd::{EtcdError, EtcdGuard, EtcdLock, EtcdOwner};
use pidlockfile::retry::{RetryError, TryLock};

use crate::support::http::{delete, leases, line, post};
use crate::support::locks::{LONG_TTL, TTL, lock_at};
use crate::support::peer::Peer;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned()
}

#[test]
fn a_guard_is_the_first_key_of_the_line_and_its_token_is_the_revision() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    assert_eq!(lock.owner().unwrap(), None);
    let guard = lock.try_lock().unwrap();
    let [key] = &line(&server.address(), &name)[..] else { panic!("not one key") };
    assert_eq!(guard.key(), key.key);
    assert_eq!(guard.key(), format!("{name}/{:x}", key.lease));
    assert_eq!(guard.fencing_token(), key.created);
    let host = host();
    assert_eq!(key.value, format!("{host} {}", std::process::id()));
    let EtcdOwner { text, token, .. } = lock.owner().unwrap().unwrap();
    assert_eq!(text, format!("process {} on {host}", std::process::id()));
    assert_eq!(token, key.created);
    assert!(!guard.is_lost());
    assert!(!guard.lost().is_cancelled());
    guard.verify().unwrap();
    guard.unlock().unwrap();
    assert_eq!(line(&server.address(), &name), []);
    assert_eq!(lock.owner().unwrap(), None);
}

#[test]
fn the_token_grows_from_owner_to_owner() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut last = 0;
    for number in 0..6 {
        let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
        assert!(guard.fencing_token() > last);
        last = guard.fencing_token();
        if number % 2 == 0 { guard.unlock().unwrap() } else { drop(guard) }
    }
}

#[test]
fn a_held_lock_is_busy_for_threads_and_processes_alike_and_a_refused_attempt_writes_nothing() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, LONG_TTL);
    let before = leases(&server.address());
    let lock = lock_at(&server.endpoint(), &name);
    match lock.try_lock() {
        Err(error @ EtcdError::Busy { token, .. }) => {
            assert_eq!(token, owner.token());
            assert!(error.is_temporary());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(leases(&server.address()), before);
    owner.must("unlock");
    let _guard = lock.try_lock().unwrap();
    let second = lock.try_lock();
    assert!(matches!(second, Err(EtcdError::Busy { .. })), "{second:?}");
    assert!(owner.ask("try_lock").contains("is locked by process"));
}

#[test]
fn names_that_begin_alike_are_different_locks() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let _guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    for other in
        [format!("{name}0"), format!("{name}/below"), format!("{name} "), name.to_uppercase()]
    {
        // What stands below our name is our line, by the layout that Go's package has, too.
        let is_in_line = other == format!("{name}/below");
        let guard = lock_at(&server.endpoint(), &other).try_lock();
        assert!(guard.is_ok(), "{other}: {guard:?}");
        assert_eq!(line(&server.address(), &name).len(), if is_in_line { 2 } else { 1 });
    }
}

#[test]
fn a_guard_outlives_its_ttl_by_renewals() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    let guard = lock_at(&proxy.endpoint(), &name).ttl(3 * TTL).try_lock().unwrap();
    // One comes when a third of the TTL is over.
    proxy.wait_for("/keepalive", 4);
    assert!(!guard.is_lost());
    guard.verify().unwrap();
    guard.unlock().unwrap();
}

#[test]
fn a_killed_holder_leaves_the_lock_for_its_ttl_at_most() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, 3 * TTL);
    let token = owner.token();
    owner.kill();
    let lock = lock_at(&server.endpoint(), &name);
    assert!(matches!(lock.try_lock(), Err(EtcdError::Busy { .. })));
    let guard = crate::support::locks::patient().run().acquire(&lock).unwrap();
    assert!(guard.fencing_token() > token);
}

#[test]
fn a_key_that_somebody_deletes_is_seen_by_verify_and_lost_for_good() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let guard = lock.try_lock().unwrap();
    delete(&server.address(), guard.key());
    let other = lock.try_lock().unwrap();
    assert!(matches!(guard.verify(), Err(EtcdError::Lost { .. })));
    assert!(guard.is_lost() && guard.lost().is_cancelled());
    assert!(other.fencing_token() > guard.fencing_token());
    drop(other);
    assert!(guard.is_lost(), "it came back");
    let unlocked = guard.unlock();
    assert!(matches!(unlocked, Err(EtcdError::Lost { .. })), "{unlocked:?}");
}

#[test]
fn a_guard_whose_key_somebody_deletes_is_told_by_the_next_renewal() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).ttl(TTL).try_lock().unwrap();
    delete(&server.address(), guard.key());
    until("the token is cancelled", || guard.lost().is_cancelled());
    let unlocked = guard.unlock();
    assert!(matches!(unlocked, Err(EtcdError::Lost { .. })), "{unlocked:?}");
}

#[test]
fn a_lease_that_somebody_revokes_is_lost_by_the_next_renewal() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = |name: &str| lock_at(&server.endpoint(), name).ttl(6 * TTL);
    let asked = Instant::now();
    let guard = lock(&name).try_lock().unwrap();
    let lease = line(&server.address(), &name)[0].lease;
    let other = lock(&format!("{name} 2")).try_lock().unwrap();
    post(&server.address(), "/v3/lease/revoke", &serde_json::json!({"ID": lease.to_string()}));
    until("the guard is told", || guard.lost().is_cancelled());
    // A renewal comes when a third of the TTL is over. By the clock alone it would take all of it.
    assert!(asked.elapsed() < 6 * TTL, "{:?}", asked.elapsed());
    assert!(guard.is_lost());
    assert!(!other.is_lost());
    let text = guard.unlock().unwrap_err().to_string();
    assert!(text.contains("its lease has ended, or was revoked"), "{text}");
}

#[test]
fn the_token_lost_ends_a_wait_for_another_lock() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let held = lock_at(&server.endpoint(), &format!("{name} 2"));
    let _held = held.try_lock().unwrap();
    let key = guard.key().to_owned();
    let waited = std::thread::scope(|scope| {
        let run = crate::support::locks::patient().run().cancel_on(guard.lost());
        let waiter = scope.spawn(|| run.acquire(&held));
        until("it stands in line", || line(&server.address(), held.name()).len() == 2);
        delete(&server.address(), &key);
        assert!(guard.verify().is_err());
        waiter.join().unwrap()
    });
    assert!(waited.is_err_and(|error| error.is_cancelled()));
    until("it has left the line", || line(&server.address(), held.name()).len() == 1);
}

#[test]
fn locks_and_guards_may_be_sent_and_shared() {
    fn is_a_lock<L: TryLock<Guard = EtcdGuard, Error = EtcdError> + Clone>() {}
    fn may_be_sent_and_shared<T: Send + Sync + Unpin + 'static>() {}
    may_be_sent_and_shared::<EtcdLock>();
    may_be_sent_and_shared::<EtcdGuard>();
    may_be_sent_and_shared::<EtcdError>();
    may_be_sent_and_shared::<EtcdOwner>();
    may_be_sent_and_shared::<RetryError<EtcdError>>();
    is_a_lock::<EtcdLock>();
}

#[test]
fn a_ttl_that_the_server_raises_counts_as_granted() {
    require_etcd!();
    // It grants no lease shorter than one and a half election timeouts: 3 s here.
    let server = Server::start(&["--election-timeout", "2000"]);
    let lock = lock_at(&server.endpoint(), "name").ttl(TTL);
    let asked = Instant::now();
    let guard = lock.try_lock().unwrap();
    server.freeze();
    until("the guard is lost", || guard.is_lost());
    assert!(asked.elapsed() >= 3 * TTL, "{:?}", asked.elapsed());
    server.thaw();
}

#[test]
fn an_attempt_that_looked_before_another_locked_is_busy() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    proxy.set("/kv/txn", Fate::Held);
    let late = lock_at(&proxy.endpoint(), &name).request_timeout(LONG_TTL * 6);
    std::thread::scope(|scope| {
        let attempt = scope.spawn(|| late.try_lock());
        proxy.wait_for("/kv/txn", 1);
        let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
        proxy.let_go();
        let attempt = attempt.join().unwrap();
        assert!(matches!(attempt, Err(EtcdError::Busy { .. })), "{attempt:?}");
        guard.verify().unwrap();
    });
    until("nothing is left", || line(&server.address(), &name).is_empty());
}
