//! Many wait for one lock: they have it in turn, none is forgotten, and few requests are made.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::retry::RetryPolicy;

use crate::support::etcdctl::run;
use crate::support::http::{line, put};
use crate::support::locks::{LONG_TTL, TTL, lock_at, lock_by};
use crate::support::peer::Peer;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

fn wait_for_line(server: &Server, name: &str, length: usize) {
    until(&format!("{length} stand in line"), || line(&server.address(), name).len() == length);
}

/// Starts a process that waits, and returns when it stands in line.
fn waiting(server: &Server, name: &str, ttl: Duration) -> Peer {
    let length = line(&server.address(), name).len();
    let mut peer = Peer::start(&server.endpoint(), name, ttl);
    peer.tell("acquire");
    wait_for_line(server, name, length + 1);
    peer
}

#[test]
fn waiters_have_the_lock_in_the_order_in_which_they_came() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, LONG_TTL);
    let mut waiters: Vec<_> = (0..4).map(|_| waiting(&server, &name, LONG_TTL)).collect();
    let mut token = owner.token();
    owner.must("unlock");
    for waiter in &mut waiters {
        waiter.must_answer();
        assert!(waiter.token() > token);
        token = waiter.token();
        let first = line(&server.address(), &name)[0].clone();
        assert_eq!((first.key, first.created), (waiter.ask("key"), token));
        waiter.must("unlock");
    }
    assert_eq!(line(&server.address(), &name), []);
}

#[test]
fn a_waiter_that_is_killed_holds_up_the_line_for_its_ttl_at_most() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let mut first = waiting(&server, &name, TTL);
    let mut second = waiting(&server, &name, LONG_TTL);
    first.kill();
    guard.unlock().unwrap();
    second.must_answer();
    assert_eq!(line(&server.address(), &name).len(), 1);
}

#[test]
fn a_waiter_in_the_middle_that_is_killed_wakes_nobody_too_early() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let mut middle = waiting(&server, &name, TTL);
    let mut last = waiting(&server, &name, LONG_TTL);
    middle.kill();
    wait_for_line(&server, &name, 2);
    // The one behind it was woken, and looked.
    guard.verify().unwrap();
    assert_eq!(line(&server.address(), &name)[0].key, guard.key());
    guard.unlock().unwrap();
    last.must_answer();
}

#[test]
fn a_waiter_that_was_stopped_past_its_ttl_stands_anew_at_the_end() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let mut stopped = waiting(&server, &name, TTL);
    let old = line(&server.address(), &name)[1].clone();
    stopped.stop();
    wait_for_line(&server, &name, 1);
    let mut other = waiting(&server, &name, LONG_TTL);
    stopped.go_on();
    wait_for_line(&server, &name, 3);
    let keys = line(&server.address(), &name);
    assert!(keys.iter().all(|key| key.key != old.key), "it came back as it was");
    guard.unlock().unwrap();
    other.must_answer();
    assert_eq!(other.token(), keys[1].created);
    other.must("unlock");
    stopped.must_answer();
    assert_eq!(stopped.token(), keys[2].created);
}

#[test]
fn a_waiter_whose_key_somebody_deletes_stands_anew() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let mut waiter = waiting(&server, &name, LONG_TTL);
    let old = line(&server.address(), &name)[1].clone();
    crate::support::http::delete(&server.address(), &old.key);
    guard.unlock().unwrap();
    waiter.must_answer();
    assert!(waiter.token() > old.created);
    waiter.must("verify");
}

/// A release after the look and before the stream: the stream begins at the revision that was looked at.
#[test]
fn a_release_that_comes_before_the_stream_is_not_missed() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let quickest = (0..3)
        .map(|_| {
            let guard = lock.try_lock().unwrap();
            let proxy = Proxy::to(&server.address());
            proxy.set("/watch", Fate::Held);
            let ours = lock_at(&proxy.endpoint(), &name).request_timeout(Duration::from_secs(30));
            thread::scope(|scope| {
                let waiter = scope.spawn(|| patient_until_told().run().acquire(&ours).unwrap());
                proxy.wait_for("/watch", 1);
                guard.unlock().unwrap();
                let released = Instant::now();
                proxy.let_go();
                waiter.join().unwrap().unlock().unwrap();
                released.elapsed()
            })
        })
        .min();
    // One who isn't told looks again after 5 s.
    assert!(quickest.unwrap() < Duration::from_secs(4), "{quickest:?}");
}

/// Its own delays would find a free lock sooner or later, and hide that it was not told.
fn patient_until_told() -> RetryPolicy {
    RetryPolicy::builder()
        .initial_delay(Duration::from_secs(60))
        .max_delay(Duration::from_secs(60))
        .max_attempts(None)
        .max_elapsed(None)
        .build()
        .unwrap()
}

#[test]
fn a_release_is_told_although_delays_are_long() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let quickest = (0..3)
        .map(|_| {
            let guard = lock.try_lock().unwrap();
            let proxy = Proxy::to(&server.address());
            let ours = lock_at(&proxy.endpoint(), &name);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| patient_until_told().run().acquire(&ours).unwrap());
                proxy.wait_for("/watch", 1);
                guard.unlock().unwrap();
                let released = Instant::now();
                waiter.join().unwrap().unlock().unwrap();
                released.elapsed()
            })
        })
        .min();
    assert!(quickest.unwrap() < Duration::from_secs(4), "{quickest:?}");
}

/// etcd forgets old revisions when it is told to; a stream that begins at one of those is cancelled.
#[test]
fn a_line_goes_on_although_the_server_forgot_the_revision_at_which_a_stream_begins() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let proxy = Proxy::to(&server.address());
    proxy.set("/watch", Fate::Held);
    let ours = lock_at(&proxy.endpoint(), &name).request_timeout(Duration::from_secs(30));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient_until_told().run().acquire(&ours).unwrap());
        proxy.wait_for("/watch", 1);
        put(&server.address(), "other", "1");
        let revision = put(&server.address(), "other", "2");
        run(&server, &["compact", &revision.to_string()]);
        proxy.let_go();
        proxy.wait_for("/watch", 2);
        guard.verify().unwrap();
        guard.unlock().unwrap();
        waiter.join().unwrap().unlock().unwrap();
    });
}

/// The stream of a waiter may hang on a server that was cut off, while the owner releases by another one.
#[test]
fn a_waiter_whose_server_is_cut_off_has_the_lock_in_the_end() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let proxies = [Proxy::to(&server.address()), Proxy::to(&server.address())];
    let ours = lock_by(&proxies.each_ref().map(Proxy::endpoint), &name)
        .request_timeout(Duration::from_secs(1));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient_until_told().run().acquire(&ours).unwrap());
        let watched = || proxies.iter().find(|proxy| proxy.count("/watch") > 0);
        until("it is told of its turn", || watched().is_some());
        watched().unwrap().cut();
        guard.unlock().unwrap();
        waiter.join().unwrap().unlock().unwrap();
    });
}

const WAITERS: usize = 32;

/// All wake and all ask: that takes 25 requests an acquisition with 16 waiters, and 70 with 64.
#[test]
fn an_acquisition_takes_ten_requests_at_most_with_32_waiters() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let proxy = Proxy::to(&server.address());
    // However busy this machine is, no lease needs a renewal.
    let lock = || lock_at(&proxy.endpoint(), &name).ttl(LONG_TTL * 60);
    let locks: Vec<_> = (0..WAITERS).map(|_| lock()).collect();
    let tokens = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for lock in &locks {
            scope.spawn(|| {
                let guard = RetryPolicy::daemon().run().acquire(lock).unwrap();
                tokens.lock().unwrap().push(guard.fencing_token());
                thread::sleep(Duration::from_millis(5));
                guard.unlock().unwrap();
            });
        }
        wait_for_line(&server, &name, WAITERS + 1);
        guard.unlock().unwrap();
    });
    let tokens = tokens.into_inner().unwrap();
    assert_eq!(tokens.len(), WAITERS);
    assert!(tokens.is_sorted(), "not in turn: {tokens:?}");
    let requests = proxy.count("");
    println!("{requests} requests for {WAITERS} acquisitions");
    assert!(requests <= 10 * WAITERS, "{requests}");
}

/// Waiting itself asks for little: a waiter is told, and does not poll.
#[test]
fn a_waiter_that_waits_for_two_seconds_asks_six_times_at_most() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let _guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let proxy = Proxy::to(&server.address());
    let lock = lock_at(&proxy.endpoint(), &name);
    let waited = crate::support::locks::at_most(Duration::from_secs(2)).run().acquire(&lock);
    assert!(waited.is_err_and(|error| error.is_busy()));
    until("the place was left", || line(&server.address(), &name).len() == 1);
    assert!(proxy.count("") <= 6, "{}", proxy.count(""));
}
