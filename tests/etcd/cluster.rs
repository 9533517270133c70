//! Three servers, one of which fails; and lists of servers, some of which are not there.

use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::etcd::{EtcdError, EtcdGuard};

use crate::support::http::line;
use crate::support::locks::{TTL, lock_by, patient};
use crate::support::server::{Cluster, Server};
use crate::support::wait::{require_etcd, test_name, until};

/// More than an election takes here, and less than tests may.
const CLUSTER_TTL: Duration = Duration::from_secs(5);

/// Renewals go on for longer than a lease lives without.
fn assert_kept(guard: &EtcdGuard) {
    let start = Instant::now();
    while start.elapsed() < CLUSTER_TTL * 3 / 2 {
        assert!(!guard.is_lost(), "lost after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    guard.verify().unwrap();
}

fn lock_is_kept_when_the_leader_fails(fail: fn(&Server)) {
    require_etcd!();
    let cluster = Cluster::start();
    let lock = |name| {
        lock_by(&cluster.endpoints(), name)
            .ttl(CLUSTER_TTL)
            .request_timeout(Duration::from_millis(500))
    };
    let guard = patient().run().acquire(&lock("kept")).unwrap();
    fail(cluster.leader());
    // Another lock can be taken, and waiters for this one are served.
    let new = patient().run().acquire(&lock("new")).unwrap();
    assert_kept(&guard);
    new.unlock().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock("kept")).unwrap());
        let is_in_line = |server: &&Server| server.is_healthy();
        let healthy = cluster.members().iter().find(is_in_line).unwrap();
        until("it stands in line", || line(&healthy.address(), "kept").len() == 2);
        let token = guard.fencing_token();
        guard.unlock().unwrap();
        assert!(waiter.join().unwrap().fencing_token() > token);
    });
}

#[test]
fn a_lock_is_kept_when_the_leader_is_killed() {
    lock_is_kept_when_the_leader_fails(Server::kill);
}

#[test]
fn a_lock_is_kept_when_the_leader_is_frozen() {
    lock_is_kept_when_the_leader_fails(Server::freeze);
}

#[test]
fn a_lock_is_lost_when_most_servers_are_frozen_and_stays_lost() {
    require_etcd!();
    let cluster = Cluster::start();
    let lock = lock_by(&cluster.endpoints(), "name")
        .ttl(2 * TTL)
        .request_timeout(Duration::from_millis(300));
    let guard = lock.try_lock().unwrap();
    let frozen = &cluster.members()[..2];
    frozen.iter().for_each(Server::freeze);
    until("the guard is lost", || guard.is_lost());
    let error = lock.try_lock().unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    frozen.iter().for_each(Server::thaw);
    let next = patient().run().acquire(&lock).unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
    assert!(guard.is_lost());
    assert!(matches!(guard.unlock(), Err(EtcdError::Lost { .. })));
    next.verify().unwrap();
}

/// The first is drawn, so several locks meet both.
#[test]
fn a_server_that_is_not_there_is_passed_over() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let gone = Server::start(&[]);
    let endpoints = [gone.endpoint(), server.endpoint()];
    drop(gone);
    for _ in 0..8 {
        let guard = lock_by(&endpoints, &name).try_lock().unwrap();
        guard.verify().unwrap();
        guard.unlock().unwrap();
    }
}

#[test]
fn a_server_that_is_frozen_is_passed_over_and_then_left_alone() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let frozen = Server::start(&[]);
    frozen.freeze();
    let timeout = Duration::from_secs(1);
    for _ in 0..4 {
        let lock = lock_by(&[frozen.endpoint(), server.endpoint()], &name).request_timeout(timeout);
        lock.try_lock().unwrap().unlock().unwrap();
        let start = Instant::now();
        for _ in 0..10 {
            lock.try_lock().unwrap().unlock().unwrap();
        }
        // Ten cycles of four requests each, every one of which would wait for the frozen one.
        assert!(start.elapsed() < 40 * timeout, "{:?}", start.elapsed());
    }
    frozen.thaw();
}
