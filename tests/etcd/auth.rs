//! Servers that ask for a user: logins that expire, that are wrong, and that may too little.

use std::thread;
use std::time::Duration;

use pidlockfile::etcd::EtcdError;

use crate::support::etcdctl::{run, turn_auth_on};
use crate::support::locks::{LONG_TTL, TTL, at_most, lock_at, patient};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::tls::make_jwt_keys;
use crate::support::wait::{has, require, require_etcd, until};

fn server() -> Server {
    let server = Server::start(&["--auth-token-ttl", "1"]);
    turn_auth_on(&server);
    server
}

fn leases(server: &Server) -> String {
    run(server, &["--user", "root:root", "lease", "list"])
}

#[track_caller]
fn assert_refused(error: &EtcdError, text: &str) {
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, EtcdError::Refused { .. }), "{error:?}");
    assert!(!error.is_temporary());
}

fn a_lock_is_kept_while_logins_expire(server: &Server) {
    let proxy = Proxy::to(&server.address());
    let lock = |ttl| lock_at(&proxy.endpoint(), "jobs/nightly").user("app", "secret").ttl(ttl);
    let guard = lock(TTL).try_lock().unwrap();
    let waiter = lock(LONG_TTL);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&waiter).unwrap());
        proxy.wait_for("/watch", 1);
        let logins = proxy.count("/auth/authenticate");
        until("both have logged in again", || {
            thread::sleep(Duration::from_millis(1500));
            guard.verify().unwrap();
            proxy.count("/auth/authenticate") >= logins + 2
        });
        guard.unlock().unwrap();
        waiter.join().unwrap().unlock().unwrap();
    });
    assert!(leases(server).contains("found 0 leases"), "{}", leases(server));
}

#[test]
fn a_lock_is_kept_and_waited_for_while_simple_tokens_expire() {
    require_etcd!();
    a_lock_is_kept_while_logins_expire(&server());
}

#[test]
fn a_lock_is_kept_and_waited_for_while_signed_tokens_expire() {
    require_etcd!();
    require!(has("openssl", "version"), "openssl is not installed");
    let dir = tempfile::tempdir().unwrap();
    let (private, public) = make_jwt_keys(dir.path());
    // Its end is cut to a whole second, so this is one at least.
    let token = format!("jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=2s");
    let server = Server::start(&["--auth-token", &token]);
    turn_auth_on(&server);
    a_lock_is_kept_while_logins_expire(&server);
}

#[test]
fn without_a_user_the_error_says_how_to_set_one() {
    require_etcd!();
    let server = server();
    let lock = lock_at(&server.endpoint(), "jobs/nightly");
    let text = "cannot lock jobs/nightly in etcd: etcdserver: user name is empty; etcd asks for a user: set one with EtcdLock::user";
    assert_refused(&lock.try_lock().unwrap_err(), text);
    let error = at_most(Duration::from_secs(600)).run().acquire(&lock).unwrap_err();
    assert!(error.is_permanent());
}

#[test]
fn a_wrong_password_is_refused_for_good() {
    require_etcd!();
    let server = server();
    let lock = lock_at(&server.endpoint(), "jobs/nightly").user("app", "wrong");
    let text = "cannot lock jobs/nightly in etcd: etcdserver: authentication failed, invalid user ID or password";
    assert_refused(&lock.try_lock().unwrap_err(), text);
}

#[test]
fn a_user_who_may_not_use_the_keys_is_refused_for_good_and_nothing_is_left() {
    require_etcd!();
    let server = server();
    let lock = lock_at(&server.endpoint(), "elsewhere").user("app", "secret");
    let text = "cannot lock elsewhere in etcd: etcdserver: permission denied; grant the user's role readwrite on the lock's name and all keys below it";
    assert_refused(&lock.try_lock().unwrap_err(), text);
    let run = at_most(Duration::from_secs(600)).run().acquire(&lock).unwrap_err();
    assert!(run.is_permanent());
    until("no lease is left", || leases(&server).contains("found 0 leases"));
}

#[test]
fn a_user_is_no_harm_where_none_is_asked_for() {
    require_etcd!();
    let server = Server::shared();
    let lock = lock_at(&server.endpoint(), "jobs/nightly").user("app", "secret");
    lock.try_lock().unwrap().unlock().unwrap();
}

/// Logins begin to be asked for, and cease to be, while the lock is held.
#[test]
fn a_lock_is_kept_when_auth_is_turned_on_and_off() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock = lock_at(&server.endpoint(), "jobs/nightly").user("app", "secret");
    let guard = lock.try_lock().unwrap();
    turn_auth_on(&server);
    guard.verify().unwrap();
    guard.unlock().unwrap();
    let guard = lock.try_lock().unwrap();
    run(&server, &["--user", "root:root", "auth", "disable"]);
    guard.verify().unwrap();
    guard.unlock().unwrap();
}
