//! A child made by fork(2) has a copy of the guard, and the lock is its parent's.

use crate::support::http::line;
use crate::support::locks::{TTL, lock_at};
use crate::support::peer::Peer;
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

#[test]
fn a_child_that_drops_its_copy_releases_nothing_and_the_parent_keeps_the_lock() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let proxy = Proxy::to(&server.address());
    let mut owner = Peer::holding(&proxy.endpoint(), &name, 3 * TTL);
    owner.must("fork");
    assert_eq!(owner.ask("child is_lost"), "true");
    assert_eq!(owner.ask("child is_told"), "true");
    let key = line(&server.address(), &name)[0].clone();
    owner.must("child drop");
    owner.must("end_child");
    assert_eq!(line(&server.address(), &name)[0], key);
    assert_eq!(owner.ask("is_lost"), "false");
    owner.must("verify");
    // Its thread renews as before.
    let renewals = proxy.count("/keepalive");
    proxy.wait_for("/keepalive", renewals + 4);
    owner.must("verify");
    assert_eq!(line(&server.address(), &name), [key]);
    owner.must("unlock");
}

#[test]
fn a_child_says_of_its_copy_that_it_is_its_parents_and_can_unlock_nothing() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, 3 * TTL);
    owner.must("fork");
    let text = format!(
        "{name} is not locked any more: it belongs to the process that this one was forked from; stop the work that it protects, another process may own it by now"
    );
    assert_eq!(owner.ask("child verify"), text);
    assert_eq!(owner.ask("child unlock"), text);
    owner.must("verify");
    owner.must("unlock");
}

#[test]
fn a_child_can_lock_by_its_parents_lock_with_connections_of_its_own() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, 3 * TTL);
    owner.must("fork");
    let busy = format!("{name} is locked by process {} on ", owner.pid());
    assert!(owner.ask("child try_lock").starts_with(&busy));
    owner.tell("child acquire");
    until("the child stands in line", || line(&server.address(), &name).len() == 2);
    let token = line(&server.address(), &name)[1].created;
    // The child answers in place of its parent, so both answers are there to be read.
    owner.tell("unlock");
    assert_eq!([owner.answer(), owner.answer()], ["ok", "ok"]);
    assert_eq!(owner.ask("child token"), token.to_string());
    owner.must("child verify");
    owner.must("child unlock");
    owner.must("end_child");
    assert!(lock_at(&server.endpoint(), &name).try_lock().is_ok());
}

#[test]
fn a_lock_does_not_outlive_its_owner_for_the_sake_of_its_child() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    let mut owner = Peer::holding(&server.endpoint(), &name, TTL);
    owner.must("fork");
    owner.kill();
    // The child lives on: it waits for a command that never comes.
    let lock = lock_at(&server.endpoint(), &name);
    until("the lock is free", || lock.try_lock().is_ok());
}
