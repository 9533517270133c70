//! What each error says, word for word, and whether trying again can help.

use std::error::Error as _;
use std::time::Duration;

use pidlockfile::etcd::{EtcdError, EtcdLock};
use pidlockfile::retry::Temporary as _;

use crate::support::fake::Fake;
use crate::support::http::put;
use crate::support::locks::{at_most, lock_at};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name};

fn error_of(fake: &Fake) -> EtcdError {
    lock_at(&fake.endpoint(), "jobs/nightly").try_lock().unwrap_err()
}

#[track_caller]
fn assert_config(made: Result<EtcdLock, EtcdError>, text: &str) {
    match made {
        Err(error @ EtcdError::Config { .. }) => {
            assert_eq!(error.to_string(), text);
            assert!(!error.is_temporary());
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn what_is_no_lock_is_refused_before_anything_is_asked() {
    let url = "http://127.0.0.1:2379";
    assert_config(EtcdLock::new([url], ""), "the name of the lock is empty");
    assert_config(
        EtcdLock::new([url], "a\0b"),
        r"`a\u{0}b` holds a NUL byte and cannot be the name of a lock",
    );
    assert_config(EtcdLock::new([""; 0], "jobs"), "no etcd server is named for jobs");
    for endpoint in [
        "",
        "etcd1:2379",
        "127.0.0.1:2379",
        "ftp://etcd1",
        "http://",
        "http://etcd1/v3",
        "unix:///run/etcd",
    ] {
        let text = format!("`{endpoint}` is no address of an etcd server: http://HOST:PORT is one");
        assert_config(EtcdLock::new([url, endpoint], "jobs"), &text);
    }
    EtcdLock::new([url, "http://etcd1:2379/", "http://[::1]:2379"], "jobs/nightly").unwrap();
}

#[cfg(not(feature = "etcd-tls"))]
#[test]
fn without_the_feature_https_is_refused_and_the_feature_named() {
    let text = "`https://etcd1:2379` needs the feature `etcd-tls` of pidlockfile";
    assert_config(EtcdLock::new(["https://etcd1:2379"], "jobs"), text);
}

#[test]
fn a_busy_lock_names_its_holder() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    put(&server.address(), &format!("{name}/1f"), "web-3 608");
    let lock = lock_at(&server.endpoint(), &name);
    let error = lock.try_lock().unwrap_err();
    assert_eq!(error.to_string(), format!("{name} is locked by process 608 on web-3"));
    assert!(error.is_temporary());
    assert!(error.source().is_none());
    assert_eq!(error.holder().unwrap(), "process 608 on web-3");
    // A pid of another machine is nobody here.
    assert_eq!(error.owner(), None);

    let error = at_most(Duration::from_millis(50)).run().acquire(&lock).unwrap_err();
    assert_eq!(error.owner(), None);
    assert!(
        error.to_string().contains(&format!("{name} is locked by process 608 on web-3")),
        "{error}"
    );
}

#[test]
fn a_key_without_our_value_is_named_itself() {
    require_etcd!();
    let (server, name) = (Server::shared(), test_name());
    for (number, value) in
        ["", "something else entirely", "web-3 pid", " 608", "web-3 608 609"].iter().enumerate()
    {
        let name = format!("{name} {number}");
        put(&server.address(), &format!("{name}/694d"), value);
        let error = lock_at(&server.endpoint(), &name).try_lock().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{name} is locked by the owner of {name}/694d"),
            "{value}"
        );
    }
}

#[test]
fn control_characters_in_a_name_or_a_holder_do_not_reach_the_terminal() {
    require_etcd!();
    let server = Server::shared();
    let name = format!("{}\x1b[2J\n", test_name());
    put(&server.address(), &format!("{name}/\x07"), "\x1b]0;title 12");
    let text = lock_at(&server.endpoint(), &name).try_lock().unwrap_err().to_string();
    assert!(!text.contains(|character: char| character.is_control()), "{text:?}");
}

#[test]
fn a_server_that_is_not_there_is_unreachable_and_all_that_were_asked_are_named() {
    let lock = EtcdLock::new(["http://127.0.0.1:1", "http://localhost:1"], "jobs/nightly").unwrap();
    let error = lock.try_lock().unwrap_err();
    let text = "no etcd server answered for jobs/nightly, tried http://127.0.0.1:1, http://localhost:1: Connection refused (os error 111); `etcdctl endpoint health` shows whether one is up";
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, EtcdError::Unreachable { .. }) && error.is_temporary());
    assert!(error.source().is_none(), "the text has it");
    assert!(lock.owner().unwrap_err().is_temporary());
}

#[test]
fn a_run_waits_for_a_server_that_is_not_there_and_then_gives_up() {
    let lock = lock_at("http://127.0.0.1:1", "jobs/nightly");
    let mut waits = 0;
    let policy = at_most(Duration::from_millis(500));
    let error = policy.run().on_wait(|_| waits += 1).acquire(&lock).unwrap_err();
    assert!(waits > 1, "{waits}");
    assert!(matches!(error.last, Some(EtcdError::Unreachable { .. })));
}

#[test]
fn grpc_codes_that_pass_are_temporary_and_all_others_end_a_run() {
    for code in [1, 2, 4, 8, 10, 13, 14] {
        let error = error_of(&Fake::refusing(503, code, "etcdserver: no leader"));
        assert!(matches!(error, EtcdError::Unreachable { .. }), "{code}: {error:?}");
        assert!(error.is_temporary());
        assert!(error.to_string().contains(": etcdserver: no leader; "), "{error}");
    }
    for code in [3, 5, 6, 7, 9, 11, 12, 15, 16] {
        let fake = Fake::refusing(400, code, "etcdserver: no");
        let error = error_of(&fake);
        assert!(matches!(error, EtcdError::Refused { .. }), "{code}: {error:?}");
        assert!(!error.is_temporary());
        assert_eq!(error.to_string(), "cannot lock jobs/nightly in etcd: etcdserver: no");
        let run = at_most(Duration::from_secs(600))
            .run()
            .acquire(&lock_at(&fake.endpoint(), "jobs/nightly"));
        assert!(run.unwrap_err().is_permanent());
    }
}

#[test]
fn permission_that_is_denied_names_the_remedy() {
    let error = error_of(&Fake::refusing(403, 7, "etcdserver: permission denied"));
    let text = "cannot lock jobs/nightly in etcd: etcdserver: permission denied; grant the user's role readwrite on the lock's name and all keys below it";
    assert_eq!(error.to_string(), text);
}

#[test]
fn what_is_no_etcd_is_permanent_and_its_text_is_in_the_error() {
    let error = error_of(&Fake::answering(200, "text/html", "<h1>Welcome to nginx</h1>"));
    let text = "cannot lock jobs/nightly in etcd: HTTP status 200, <h1>Welcome to nginx</h1>";
    assert_eq!(error.to_string(), text);
    assert!(!error.is_temporary());

    let error = error_of(&Fake::answering(404, "text/plain", "404 page not found\n"));
    let text = "cannot lock jobs/nightly in etcd: HTTP status 404, 404 page not found; the address must be a client URL of etcd 3.4 or later, without --enable-grpc-gateway=false";
    assert_eq!(error.to_string(), text);

    // A proxy before servers that are down.
    assert!(error_of(&Fake::answering(502, "text/html", "<h1>Bad Gateway</h1>")).is_temporary());

    // JSON, but nobody's answer.
    for body in ["{}", "[]", "null", r#"{"kvs":[{"key":1}]}"#, r#"{"kvs":[{}]}"#, r#"{"kvs":7}"#] {
        let error = error_of(&Fake::answering(200, "application/json", body));
        assert!(matches!(error, EtcdError::Refused { .. }), "{body}: {error:?}");
    }
}

#[test]
fn a_server_that_speaks_no_http_ends_no_run_without_a_word() {
    use std::io::Write as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = (&client).write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    let error = lock_at(&endpoint, "jobs/nightly").try_lock().unwrap_err();
    assert!(
        matches!(error, EtcdError::Refused { .. } | EtcdError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("jobs/nightly"));
}
