//! Servers with certificates, clients with and without, and what etcd's gateway cannot do.

use std::path::PathBuf;

use pidlockfile::etcd::{EtcdError, EtcdLock};

use crate::support::etcdctl::{run, turn_auth_on};
use crate::support::locks::{at_most, lock_at, patient};
use crate::support::server::Server;
use crate::support::tls::Identity;
use crate::support::wait::{has, require, require_etcd};

macro_rules! require_tls {
    () => {
        require_etcd!();
        require!(has("openssl", "version"), "openssl is not installed");
    };
}

fn lock(server: &Server, identity: &Identity) -> EtcdLock {
    lock_at(&server.endpoint(), "jobs/nightly").ca_file(identity.path("ca.pem")).unwrap()
}

fn with_cert(lock: EtcdLock, identity: &Identity, name: &str) -> EtcdLock {
    let [cert, key]: [PathBuf; 2] =
        ["pem", "key"].map(|ending| identity.path(&format!("{name}.{ending}")));
    lock.client_cert(cert, key).unwrap()
}

/// It ends a run, however patient: it must not be retried for ever.
#[track_caller]
fn assert_permanent(lock: &EtcdLock, begin: &str, end: &str) {
    let error = lock.try_lock().unwrap_err();
    assert!(matches!(error, EtcdError::Refused { .. }), "{error:?}");
    assert!(!error.is_temporary());
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot lock jobs/nightly in etcd: {begin}")), "{text}");
    assert!(text.ends_with(end), "{text}");
    assert!(patient().run().acquire(lock).unwrap_err().is_permanent());
}

#[test]
fn a_lock_works_over_tls() {
    require_tls!();
    let identity = Identity::new();
    let server = Server::start_with(&[], Some(&identity));
    let lock = lock(&server, &identity);
    let guard = lock.try_lock().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock).unwrap());
        while lock.try_lock().is_ok() {}
        guard.verify().unwrap();
        guard.unlock().unwrap();
        waiter.join().unwrap().unlock().unwrap();
    });
}

#[test]
fn a_lock_works_over_tls_with_a_client_certificate() {
    require_tls!();
    let identity = Identity::new().asking_clients();
    let server = Server::start_with(&[], Some(&identity));
    let lock = with_cert(lock(&server, &identity), &identity, "client");
    let guard = lock.try_lock().unwrap();
    assert!(at_most(std::time::Duration::ZERO).run().acquire(&lock).unwrap_err().is_busy());
    guard.unlock().unwrap();
    // Without auth its name is no matter.
    with_cert(lock, &identity, "named_client").try_lock().unwrap().unlock().unwrap();
}

#[test]
fn an_unknown_authority_is_refused_for_good_and_the_remedy_named() {
    require_tls!();
    let identity = Identity::new();
    let server = Server::start_with(&[], Some(&identity));
    let stranger =
        lock_at(&server.endpoint(), "jobs/nightly").ca_file(identity.path("stranger.pem")).unwrap();
    let remedy =
        "; name the certificate authority that signed the server's certificate: EtcdLock::ca_file";
    assert_permanent(&stranger, "", remedy);
    assert_permanent(&lock_at(&server.endpoint(), "jobs/nightly"), "", remedy);
}

#[test]
fn a_client_without_the_certificate_that_is_asked_for_is_refused_for_good() {
    require_tls!();
    let identity = Identity::new().asking_clients();
    let server = Server::start_with(&[], Some(&identity));
    assert_permanent(
        &lock(&server, &identity),
        "",
        "; etcd asks for a client certificate that it trusts: EtcdLock::client_cert",
    );
}

/// etcd closes such a connection without a word, as a server does that is just being stopped.
#[track_caller]
fn assert_closed(lock: &EtcdLock) {
    let error = lock.try_lock().unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    let hint = "; the last one closed the connection, as it does where it expects https:// in place of http://, or the other way round";
    assert!(error.to_string().ends_with(hint), "{error}");
}

#[test]
fn http_to_a_server_that_speaks_https_says_so() {
    require_tls!();
    let identity = Identity::new();
    let server = Server::start_with(&[], Some(&identity));
    assert_closed(&lock_at(&format!("http://{}", server.address()), "jobs/nightly"));
}

#[test]
fn https_to_a_server_that_speaks_http_says_so() {
    require_tls!();
    let server = Server::shared();
    assert_closed(&lock_at(&format!("https://{}", server.address()), "jobs/nightly"));
}

/// The gateway is a client of its own server, with the server's certificate.
#[test]
fn a_gateway_that_its_own_server_refuses_is_refused_for_good_and_the_remedy_named() {
    require_tls!();
    let identity = Identity::new().asking_clients().for_servers_only();
    let server = Server::start_with(&[], Some(&identity));
    let lock = with_cert(lock(&server, &identity), &identity, "client");
    let text = "the server's certificate does not allow client authentication, so its JSON gateway cannot reach it; with --client-cert-auth, add clientAuth to the certificate's extended key usage";
    assert_permanent(&lock, text, text);
}

#[test]
fn a_client_certificate_with_a_name_is_refused_for_good_where_users_are_switched_on() {
    require_tls!();
    let identity = Identity::new().asking_clients();
    let server = Server::start_with(&[], Some(&identity));
    turn_auth_on(&server);
    let lock = lock(&server, &identity).user("app", "secret");
    let remedy = "; with users switched on, etcd takes no client certificate that has a common name (CN) on its HTTP port: use one without";
    assert_permanent(&with_cert(lock.clone(), &identity, "named_client"), "", remedy);
    // The remedy is one.
    with_cert(lock, &identity, "client").try_lock().unwrap().unlock().unwrap();
    run(&server, &["--user", "root:root", "lease", "list"]);
}

#[test]
fn a_server_without_its_gateway_is_refused_for_good_and_the_remedy_named() {
    require_etcd!();
    let server = Server::start(&["--enable-grpc-gateway=false"]);
    let remedy = "; the address must be a client URL of etcd 3.4 or later, without --enable-grpc-gateway=false";
    assert_permanent(&lock_at(&server.endpoint(), "jobs/nightly"), "HTTP status 404, ", remedy);
}

#[test]
fn files_that_are_no_certificates_are_refused_at_once() {
    require_tls!();
    let identity = Identity::new();
    let lock = || lock_at("https://127.0.0.1:2379", "jobs/nightly");
    let missing = identity.path("missing.pem");
    let errors = [
        lock().ca_file(&missing).err(),
        lock().ca_file(identity.path("ca.key")).err(),
        lock().client_cert(&missing, identity.path("client.key")).err(),
        lock().client_cert(identity.path("client.pem"), &missing).err(),
        lock().client_cert(identity.path("client.pem"), identity.path("client.pem")).err(),
    ];
    for error in errors {
        let error = error.expect("it was taken");
        assert!(matches!(error, EtcdError::Config { .. }), "{error:?}");
        assert!(
            error.to_string().contains(identity.path("").to_str().unwrap()),
            "it names no file: {error}"
        );
    }
}
