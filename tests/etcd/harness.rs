//! The harness itself, against etcd by plain HTTP: what a test believes of it must be so.

use std::process::Command;
use std::sync::mpsc;
use std::thread;

use serde_json::json;

use crate::support::etcdctl::{Etcdctl, turn_auth_on};
use crate::support::http::{line, post, put, request};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::{Cluster, Server};
use crate::support::tls::Identity;
use crate::support::wait::{has, require, require_etcd, test_name, until};

#[test]
fn a_server_keeps_its_data_when_it_is_killed_and_started_again() {
    require_etcd!();
    let server = Server::start(&[]);
    let revision = put(&server.address(), "name/key", "value");
    server.kill();
    assert!(!server.is_healthy());
    server.restart();
    let [key] = &line(&server.address(), "name")[..] else { panic!("not one key") };
    assert_eq!((key.value.as_str(), key.created, key.lease), ("value", revision, 0));
}

#[test]
fn a_frozen_server_answers_once_it_is_thawed() {
    require_etcd!();
    let server = Server::start(&[]);
    server.freeze();
    let address = server.address();
    let (sender, answered) = mpsc::channel();
    thread::spawn(move || sender.send(request(&address, "GET", "/health", "")).unwrap());
    assert!(answered.recv_timeout(std::time::Duration::from_millis(200)).is_err());
    server.thaw();
    assert_eq!(answered.recv().unwrap().unwrap().0, 200);
}

#[test]
fn a_cluster_elects_another_leader_when_the_first_is_killed_or_frozen() {
    require_etcd!();
    let cluster = Cluster::start();
    let first = cluster.leader().endpoint();
    cluster.leader().kill();
    until("another leads", || cluster.leader().endpoint() != first);
}

#[test]
fn etcdctl_tells_when_it_owns_a_lock() {
    require_etcd!();
    let server = Server::start(&[]);
    let owner = Etcdctl::lock(&server, "name");
    owner.wait_until_it_owns();
    let waiter = Etcdctl::lock(&server, "name");
    until("both stand in line", || line(&server.address(), "name").len() == 2);
    assert!(!waiter.owns_by_now());
    owner.unlock();
    waiter.wait_until_it_owns();
    waiter.unlock();
    // A key whose unlock failed goes with its lease.
    until("the line is empty", || line(&server.address(), "name").is_empty());
}

#[test]
fn with_auth_on_a_request_without_a_token_is_refused() {
    require_etcd!();
    let server = Server::start(&["--auth-token-ttl", "1"]);
    turn_auth_on(&server);
    let (status, body) =
        request(&server.address(), "POST", "/v3/kv/range", r#"{"key":"am9icy8="}"#).unwrap();
    assert_ne!(status, 200, "{body}");
    let login = post(
        &server.address(),
        "/v3/auth/authenticate",
        &json!({"name": "app", "password": "secret"}),
    );
    assert!(login["token"].is_string());
}

#[test]
fn a_server_with_tls_refuses_a_client_without_a_certificate_if_it_asks_for_one() {
    require_etcd!();
    require!(has("openssl", "version"), "openssl is not installed");
    let identity = Identity::new().asking_clients();
    let server = Server::start_with(&[], Some(&identity));
    assert!(server.is_healthy());
    let mut without = Command::new("etcdctl");
    without.env("ETCDCTL_API", "3").args(["--endpoints", &server.endpoint(), "endpoint", "health"]);
    without.arg("--cacert").arg(identity.path("ca.pem"));
    assert!(!without.output().unwrap().status.success());
}

#[test]
fn the_proxy_counts_and_swallows_and_cuts() {
    require_etcd!();
    let server = Server::shared();
    let name = test_name();
    let proxy = Proxy::to(&server.address());
    let through = proxy.endpoint().strip_prefix("http://").unwrap().to_owned();
    put(&through, &format!("{name}/a"), "1");
    assert_eq!((proxy.count("/kv/put"), proxy.count("/kv/range")), (1, 0));

    proxy.set("/kv/put", Fate::HungUp);
    let body = json!({"key": crate::support::http::encode(format!("{name}/b")), "value": "MQ=="})
        .to_string();
    let put_b = || request(&through, "POST", "/v3/kv/put", &body);
    assert!(put_b().is_err());
    until("the server has it", || line(&server.address(), &name).len() == 2);
    proxy.let_go();
    assert_eq!(put_b().unwrap().0, 200);

    proxy.cut();
    let (sender, answered) = mpsc::channel();
    let (body, to) = (body.clone(), through.clone());
    thread::spawn(move || sender.send(request(&to, "POST", "/v3/kv/put", &body)));
    assert!(answered.recv_timeout(std::time::Duration::from_millis(200)).is_err());
    proxy.mend();
    assert_eq!(answered.recv().unwrap().unwrap().0, 200);
}
