//! Programs that no one here wrote lock the same name: `etcdctl lock` and Go's clientv3/concurrency.

use std::thread;

use pidlockfile::etcd::EtcdError;

use crate::support::etcdctl::Etcdctl;
use crate::support::go::{GO_IS_MISSING, Go, program};
use crate::support::http::line;
use crate::support::locks::{lock_at, patient};
use crate::support::server::Server;
use crate::support::wait::{require, require_etcd, test_name, until};

fn wait_for_line(server: &Server, name: &str, length: usize) {
    until(&format!("{length} stand in line"), || line(&server.address(), name).len() == length);
}

#[test]
fn etcdctl_waits_while_we_hold_the_lock_and_has_it_next() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let guard = lock.try_lock().unwrap();
    let etcdctl = Etcdctl::lock(&server, &name);
    wait_for_line(&server, &name, 2);
    guard.verify().unwrap();
    assert!(!etcdctl.owns_by_now());
    guard.unlock().unwrap();
    let key = etcdctl.wait_until_it_owns();
    match lock.try_lock() {
        Err(error @ EtcdError::Busy { .. }) => {
            assert_eq!(error.to_string(), format!("{name} is locked by the owner of {key}"));
        }
        other => panic!("{other:?}"),
    }
    etcdctl.unlock();
    lock.try_lock().unwrap().unlock().unwrap();
}

#[test]
fn we_wait_while_etcdctl_holds_the_lock_and_have_it_next() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let etcdctl = Etcdctl::lock(&server, &name);
    etcdctl.wait_until_it_owns();
    let lock = lock_at(&server.endpoint(), &name);
    assert!(lock.try_lock().is_err_and(|error| error.is_temporary()));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock).unwrap());
        wait_for_line(&server, &name, 2);
        let late = Etcdctl::lock(&server, &name);
        wait_for_line(&server, &name, 3);
        etcdctl.unlock();
        let guard = waiter.join().unwrap();
        guard.verify().unwrap();
        assert!(!late.owns_by_now());
        guard.unlock().unwrap();
        late.wait_until_it_owns();
    });
}

#[test]
fn try_lock_passes_no_line_of_etcdctl() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let guard = lock.try_lock().unwrap();
    let _waiter = Etcdctl::lock(&server, &name);
    wait_for_line(&server, &name, 2);
    guard.unlock().unwrap();
    assert!(lock.try_lock().is_err_and(|error| error.is_temporary()));
}

#[test]
fn the_go_package_waits_while_we_hold_the_lock_and_has_it_next() {
    require_etcd!();
    require!(program().is_some(), GO_IS_MISSING);
    let (server, name) = (Server::shared(), test_name());
    let lock = lock_at(&server.endpoint(), &name);
    let guard = lock.try_lock().unwrap();
    let mut go = Go::start(&server, &name);
    go.tell("Lock");
    wait_for_line(&server, &name, 2);
    guard.verify().unwrap();
    assert!(!go.has_answered());
    guard.unlock().unwrap();
    assert_eq!(go.answer(), "ok");
    assert_eq!(go.ask("IsOwner"), "true");
    let key = go.ask("Key");
    assert_eq!(lock.owner().unwrap().unwrap().text, format!("the owner of {key}"));
    assert_eq!(go.ask("Unlock"), "ok");
    lock.try_lock().unwrap().unlock().unwrap();
    go.end();
}

#[test]
fn we_wait_while_the_go_package_holds_the_lock_and_have_it_next() {
    require_etcd!();
    require!(program().is_some(), GO_IS_MISSING);
    let (server, name) = (Server::shared(), test_name());
    let (mut first, mut last) = (Go::start(&server, &name), Go::start(&server, &name));
    assert_eq!(first.ask("Lock"), "ok");
    let lock = lock_at(&server.endpoint(), &name);
    assert!(lock.try_lock().is_err_and(|error| error.is_temporary()));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock).unwrap());
        wait_for_line(&server, &name, 2);
        last.tell("Lock");
        wait_for_line(&server, &name, 3);
        assert_eq!(first.ask("Unlock"), "ok");
        let guard = waiter.join().unwrap();
        guard.verify().unwrap();
        assert!(!last.has_answered());
        guard.unlock().unwrap();
        assert_eq!(last.answer(), "ok");
    });
    last.end();
    // Its session is closed, so its key is gone, unlocked or not.
    lock.try_lock().unwrap().unlock().unwrap();
}

#[test]
fn a_name_may_have_any_letters() {
    require_etcd!();
    let (server, name) =
        (Server::shared(), format!("{}/tägliche Läufe %2f\\ \u{1f512}", test_name()));
    let lock = lock_at(&server.endpoint(), &name);
    let guard = lock.try_lock().unwrap();
    let etcdctl = Etcdctl::lock(&server, &name);
    wait_for_line(&server, &name, 2);
    guard.unlock().unwrap();
    assert!(etcdctl.wait_until_it_owns().starts_with(&format!("{name}/")));
    assert!(lock.try_lock().is_err_and(|error| error.is_temporary()));
    etcdctl.unlock();
}
