//! A holder that is cut off, stopped, or left by its server: what it knows, and when.

use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::etcd::EtcdError;

use crate::support::http::line;
use crate::support::locks::{LONG_TTL, TTL, lock_at, patient};
use crate::support::peer::Peer;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

const HOLDERS: usize = 100;

#[test]
fn a_hundred_holders_that_are_cut_off_all_know_it_before_the_next_owner_starts() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let proxy = Proxy::to(&server.address());
    let name = |number| format!("{name}/{number}");
    let guards: Vec<_> = (0..HOLDERS)
        .map(|number| lock_at(&proxy.endpoint(), &name(number)).ttl(4 * TTL).try_lock().unwrap())
        .collect();
    let knew = thread::scope(|scope| {
        let waiters: Vec<_> = (0..HOLDERS)
            .map(|number| {
                let (lock, guard) = (lock_at(&server.endpoint(), &name(number)), &guards[number]);
                scope.spawn(move || {
                    let _next = patient().run().acquire(&lock).unwrap();
                    guard.is_lost()
                })
            })
            .collect();
        for number in 0..HOLDERS {
            until("its waiter stands in line", || {
                line(&server.address(), &name(number)).len() >= 2
            });
        }
        assert!(guards.iter().all(|guard| !guard.is_lost()), "too early: they renew");
        proxy.cut();
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(knew.iter().filter(|&&knew| knew).count(), HOLDERS);
    proxy.mend();
    for guard in guards {
        until("it is told", || guard.lost().is_cancelled());
        assert!(matches!(guard.unlock(), Err(EtcdError::Lost { .. })));
    }
}

/// The token says so by itself: the guard is not asked.
#[test]
fn a_holder_that_is_cut_off_is_told_without_asking_and_is_not_owner_again() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    let guard = lock_at(&proxy.endpoint(), &name).ttl(TTL).try_lock().unwrap();
    let lost = guard.lost().clone();
    proxy.cut();
    until("the token is cancelled", || lost.is_cancelled());
    proxy.mend();
    until("its key is gone", || line(&server.address(), &name).is_empty());
    assert!(guard.is_lost());
    assert!(guard.verify().is_err());
    assert_eq!(line(&server.address(), &name), [], "it took the lock again without a word");
}

#[test]
fn a_process_that_is_stopped_past_its_ttl_knows_that_it_is_lost_when_it_goes_on() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, TTL);
    owner.stop();
    let lock = lock_at(&server.endpoint(), &name);
    let guard = patient().run().acquire(&lock).unwrap();
    owner.go_on();
    assert_eq!(owner.ask("is_lost"), "true");
    assert_eq!(owner.ask("is_told"), "true");
    let text = owner.ask("unlock");
    assert!(text.starts_with(&format!("{name} is not locked any more: its lease ")), "{text}");
    guard.verify().unwrap();
}

#[test]
fn a_holder_whose_server_is_dead_loses_the_lock_when_its_ttl_is_over_and_not_before() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let lock = lock_at(&server.endpoint(), &name).ttl(3 * TTL);
    let taken = Instant::now();
    let guard = lock.try_lock().unwrap();
    server.kill();
    assert!(!guard.is_lost(), "the connection decided");
    assert!(matches!(guard.verify(), Err(EtcdError::Unreachable { .. })));
    until("the guard is lost", || guard.is_lost());
    assert!(taken.elapsed() >= 3 * TTL, "{:?}", taken.elapsed());
    let text = format!(
        "{name} is not locked any more: its lease could not be renewed in time; stop the work that it protects, another process may own it by now"
    );
    assert_eq!(guard.verify().unwrap_err().to_string(), text);
    until("it is told", || guard.lost().is_cancelled());
    let error = guard.unlock().unwrap_err();
    assert!(matches!(error, EtcdError::Lost { .. }), "{error:?}");
}

#[test]
fn a_server_that_is_killed_and_started_again_keeps_the_lock() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let proxy = Proxy::to(&server.address());
    let guard = lock_at(&proxy.endpoint(), &name).ttl(5 * TTL).try_lock().unwrap();
    server.kill();
    server.restart();
    let before = proxy.count("/keepalive");
    proxy.wait_for("/keepalive", before + 2);
    assert!(!guard.is_lost() && !guard.lost().is_cancelled());
    guard.verify().unwrap();
    guard.unlock().unwrap();
}

#[test]
fn a_waiter_stays_in_line_when_the_server_is_killed_and_started_again() {
    require_etcd!();
    let (server, name) = (Server::start(&[]), test_name());
    let guard = lock_at(&server.endpoint(), &name).try_lock().unwrap();
    let lock = lock_at(&server.endpoint(), &name);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock).unwrap());
        until("it stands in line", || line(&server.address(), &name).len() == 2);
        let place = line(&server.address(), &name)[1].created;
        server.kill();
        server.restart();
        assert_eq!(line(&server.address(), &name)[1].created, place);
        guard.verify().unwrap();
        guard.unlock().unwrap();
        assert_eq!(waiter.join().unwrap().fencing_token(), place);
    });
}

#[test]
fn a_link_that_is_cut_for_less_than_the_ttl_is_not_noticed() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    let guard = lock_at(&proxy.endpoint(), &name)
        .ttl(LONG_TTL)
        .request_timeout(Duration::from_millis(200))
        .try_lock()
        .unwrap();
    // Longer than a third of the TTL, so that a renewal fails.
    proxy.cut();
    thread::sleep(LONG_TTL / 2);
    proxy.mend();
    let before = proxy.count("/keepalive");
    proxy.wait_for("/keepalive", before + 2);
    assert!(!guard.is_lost());
    guard.verify().unwrap();
    guard.unlock().unwrap();
}

#[test]
fn a_renewal_that_fails_is_tried_again_until_the_deadline() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    let guard = lock_at(&proxy.endpoint(), &name).ttl(5 * TTL).try_lock().unwrap();
    proxy.set("/keepalive", Fate::HungUp);
    proxy.wait_for("/keepalive", 3);
    proxy.let_go();
    proxy.wait_for("/keepalive", 5);
    assert!(!guard.is_lost());
    guard.verify().unwrap();
}

/// The deadline counts from before the request: the server's clock runs since before the answer.
#[test]
fn a_grant_that_is_answered_late_is_lost_before_the_next_owner_starts() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    proxy.set("/keepalive", Fate::Unanswered);
    proxy.slow_down("/lease/grant", TTL * 3 / 2);
    let lock = lock_at(&proxy.endpoint(), &name).ttl(2 * TTL).request_timeout(LONG_TTL);
    let guard = lock.try_lock().unwrap();
    let _next = patient().run().acquire(&lock_at(&server.endpoint(), &name)).unwrap();
    assert!(guard.is_lost(), "both hold it");
}

#[test]
fn a_grant_that_takes_longer_than_the_ttl_gives_no_guard_that_is_dead_on_arrival() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    proxy.slow_down("/txn", 2 * TTL);
    let lock = lock_at(&proxy.endpoint(), &name).ttl(TTL).request_timeout(LONG_TTL);
    match lock.try_lock() {
        Err(error) => assert!(error.is_temporary(), "{error}"),
        Ok(guard) => assert!(!guard.is_lost(), "dead on arrival"),
    }
}

/// As where the process is stopped between the two requests.
#[test]
fn an_attempt_whose_lease_is_over_before_its_key_is_put_ends_no_run() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let lock = lock_at(&proxy.endpoint(), "name").ttl(TTL).request_timeout(LONG_TTL * 6);
    let let_go_too_late = || {
        until("the lease is over", || leases_of(&server).is_empty());
        proxy.let_go();
    };
    proxy.set("/kv/txn", Fate::Held);
    let error = thread::scope(|scope| {
        let attempt = scope.spawn(|| lock.try_lock().unwrap_err());
        proxy.wait_for("/kv/txn", 1);
        let_go_too_late();
        attempt.join().unwrap()
    });
    assert!(error.is_temporary(), "{error:?}");
    proxy.set("/kv/txn", Fate::Held);
    let before = proxy.count("/kv/txn");
    thread::scope(|scope| {
        let run = scope.spawn(|| patient().run().acquire(&lock));
        proxy.wait_for("/kv/txn", before + 1);
        let_go_too_late();
        run.join().unwrap().expect("a run without a limit ended").unlock().unwrap();
    });
}

/// A lease is renewed and revoked without a write to the full database.
#[test]
fn a_server_that_is_full_keeps_the_lock_and_lets_it_go() {
    require_etcd!();
    let (server, name) = (Server::start(&["--quota-backend-bytes", "1000000"]), test_name());
    let proxy = Proxy::to(&server.address());
    let lock = lock_at(&proxy.endpoint(), &name).ttl(2 * TTL);
    let guard = lock.try_lock().unwrap();
    let big = "x".repeat(700_000);
    let put = format!(r#"{{"key":"YQ==","value":"{}"}}"#, crate::support::http::encode(&big));
    until("it is full", || {
        let answer = crate::support::http::request(&server.address(), "POST", "/v3/kv/put", &put);
        answer.is_ok_and(|(status, _)| status != 200)
    });
    let before = proxy.count("/keepalive");
    proxy.wait_for("/keepalive", before + 2);
    guard.verify().unwrap();
    let error = lock_at(&server.endpoint(), "another").try_lock().unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    guard.unlock().unwrap();
    assert_eq!(line(&server.address(), &name), []);
}

fn leases_of(server: &Server) -> Vec<u64> {
    crate::support::http::leases(&server.address())
}
