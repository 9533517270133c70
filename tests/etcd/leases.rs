//! No lease and no thread is left, however a lock is let go.

use std::thread;
use std::time::Duration;

use crate::support::http::{leases, line};
use crate::support::locks::{at_most, lock_at};
use crate::support::peer::Peer;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

/// What is left to its TTL stays longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(600);

#[test]
fn no_lease_is_left_after_a_hundred_cycles() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock = lock_at(&server.endpoint(), "name").ttl(FOR_EVER);
    for number in 0..100 {
        let guard = if number % 3 == 0 {
            at_most(FOR_EVER).run().acquire(&lock).unwrap()
        } else {
            lock.try_lock().unwrap()
        };
        if number % 2 == 0 { guard.unlock().unwrap() } else { drop(guard) }
    }
    assert_eq!(leases(&server.address()), [0; 0]);
}

#[test]
fn no_lease_is_left_after_twenty_waits_that_were_given_up() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock = lock_at(&server.endpoint(), "name").ttl(FOR_EVER);
    let guard = lock.try_lock().unwrap();
    thread::scope(|scope| {
        for number in 0..20 {
            let lock = &lock;
            scope.spawn(move || {
                let limit = Duration::from_millis(20 * number);
                assert!(at_most(limit).run().acquire(lock).unwrap_err().is_busy());
            });
        }
    });
    // The run waits until its place is given back, for a moment at most.
    until("the owner's lease alone is left", || leases(&server.address()).len() == 1);
    assert_eq!(line(&server.address(), "name")[0].key, guard.key());
    guard.unlock().unwrap();
    assert_eq!(leases(&server.address()), [0; 0]);
}

fn threads(peer: &mut Peer) -> usize {
    peer.ask("threads").parse().unwrap()
}

#[test]
fn fifty_attempts_at_a_server_that_is_not_there_leave_no_thread() {
    let mut peer = Peer::start("http://127.0.0.1:1", "name", FOR_EVER);
    let before = threads(&mut peer);
    for _ in 0..50 {
        assert!(peer.ask("try_lock").starts_with("no etcd server answered for name"));
    }
    assert_eq!(threads(&mut peer), before);
}

#[test]
fn attempts_whose_answers_are_swallowed_leave_one_thread_at_most_and_then_none() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    proxy.set("/kv/txn", Fate::HungUp);
    proxy.set("/lease/revoke", Fate::HungUp);
    let mut peer = Peer::start(&proxy.endpoint(), "name", FOR_EVER);
    let before = threads(&mut peer);
    // What the first leaves behind the others find: a held lock.
    for _ in 0..10 {
        assert!(peer.ask("try_lock").contains("name"));
        assert!(threads(&mut peer) <= before + 1, "{} of {before}", threads(&mut peer));
    }
    proxy.let_go();
    until("no lease is left", || leases(&server.address()).is_empty());
    until("no thread is left", || threads(&mut peer) == before);
}

#[test]
fn a_hundred_cycles_leave_no_thread() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut peer = Peer::start(&server.endpoint(), &name, FOR_EVER);
    let before = threads(&mut peer);
    for number in 0..100 {
        peer.must(if number % 2 == 0 { "try_lock" } else { "acquire" });
        peer.must(if number % 3 == 0 { "unlock" } else { "drop" });
    }
    until("no thread is left", || threads(&mut peer) == before);
}

#[cfg(feature = "tokio")]
#[test]
fn no_lease_is_left_after_twenty_futures_that_were_dropped() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock = lock_at(&server.endpoint(), "name").ttl(FOR_EVER);
    let guard = lock.try_lock().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..20 {
        runtime.block_on(async {
            let policy = at_most(FOR_EVER);
            let run = policy.run().acquire_async(&lock);
            // In the middle of each request, and in line.
            let limit = Duration::from_millis(number);
            assert!(tokio::time::timeout(limit, run).await.is_err());
        });
    }
    // A runtime that ends must not take along what has still to be revoked.
    drop(runtime);
    until("the owner's lease alone is left", || leases(&server.address()).len() == 1);
    guard.unlock().unwrap();
    until("no lease is left", || leases(&server.address()).is_empty());
}
