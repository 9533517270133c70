//! Schedules that once broke a promise of the lock.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::retry::RetryPolicy;

use crate::support::fake::Fake;
use crate::support::http::{Message, delete, leases, line};
use crate::support::locks::{at_most, lock_at, lock_by, patient};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wait::{require_etcd, until};

/// When a place that is told of its turn is asked again all the same.
const TOLD: Duration = Duration::from_secs(5);

#[test]
fn the_longest_time_there_is_may_be_given() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock =
        lock_at(&server.endpoint(), "name").ttl(Duration::MAX).request_timeout(Duration::MAX);
    let guard = lock.try_lock().unwrap();
    assert!(!guard.is_lost());
    at_most(Duration::from_millis(300)).run().acquire(&lock).unwrap_err();
    guard.unlock().unwrap();
    assert!(leases(&server.address()).is_empty());
}

#[test]
fn a_guard_whose_key_somebody_deleted_leaves_no_lease() {
    require_etcd!();
    let server = Server::start(&[]);
    let guard =
        lock_at(&server.endpoint(), "name").ttl(Duration::from_secs(600)).try_lock().unwrap();
    delete(&server.address(), guard.key());
    guard.verify().unwrap_err();
    drop(guard);
    until("no lease is left", || leases(&server.address()).is_empty());
}

/// One server of two is no etcd: what answered while the other one was away.
#[test]
fn a_lock_is_kept_although_one_address_is_no_etcd() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let fake = Fake::answering(404, "text/plain", "404 page not found");
    for _ in 0..4 {
        let lock =
            lock_by(&[proxy.endpoint(), fake.endpoint()], "name").ttl(Duration::from_secs(3));
        let guard = lock.try_lock().unwrap();
        let before = proxy.count("/keepalive");
        proxy.set("/lease/keepalive", Fate::HungUp);
        proxy.wait_for("/lease/keepalive", before + 1);
        proxy.let_go();
        proxy.wait_for("/lease/keepalive", before + 2);
        assert!(!guard.lost().wait_timeout(Duration::from_secs(4)), "lost");
        guard.unlock().unwrap();
    }
}

#[test]
fn a_lease_that_was_granted_unheard_is_revoked_although_another_server_refuses() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let fake = Fake::answering(404, "text/plain", "404 page not found");
    proxy.set("/lease/grant", Fate::HungUp);
    for _ in 0..8 {
        let before = proxy.count("/lease/grant");
        let lock =
            lock_by(&[proxy.endpoint(), fake.endpoint()], "name").ttl(Duration::from_secs(600));
        lock.try_lock().unwrap_err();
        if proxy.count("/lease/grant") > before {
            break;
        }
    }
    until("no lease is left", || leases(&server.address()).is_empty());
}

/// The pieces of a stream that never ends a line.
#[test]
fn a_stream_without_end_is_not_kept_in_memory() {
    require_etcd!();
    let server = Server::start(&[]);
    let address = server.address();
    let taken = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::clone(&taken);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (address, count) = (address.clone(), Arc::clone(&count));
            thread::spawn(move || relay(&client, &address, &count));
        }
    });
    let guard = lock_at(&server.endpoint(), "name").try_lock().unwrap();
    let lock = lock_at(&format!("http://127.0.0.1:{port}"), "name");
    at_most(Duration::from_secs(2)).run().acquire(&lock).unwrap_err();
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken > 0);
    assert!(taken < 64 << 20, "{taken} bytes were taken");
    drop(guard);
}

fn relay(mut client: &std::net::TcpStream, address: &str, taken: &AtomicUsize) {
    let mut requests = BufReader::new(client.try_clone().unwrap());
    while let Ok(Some(message)) = Message::read(&mut requests) {
        let path = message.head.split(' ').nth(1).unwrap().to_owned();
        if path.ends_with("/watch") {
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
            let mut sum = 0;
            while client.write_all(&[b' '; 4096]).is_ok() {
                sum += 4096;
                taken.fetch_max(sum, Ordering::Relaxed);
            }
            return;
        }
        let body = String::from_utf8(message.body).unwrap();
        let (status, body) = crate::support::http::request(address, "POST", &path, &body).unwrap();
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} it\r\nContent-Length: {length}\r\n\r\n{body}");
        if client.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// It was told that it will be told, and then the stream was cut.
#[test]
fn a_waiter_whose_stream_is_cut_asks_again_after_its_delay() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let guard = lock_at(&server.endpoint(), "name").try_lock().unwrap();
    let lock = lock_at(&proxy.endpoint(), "name");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| patient().run().acquire(&lock).unwrap());
        proxy.wait_for("/watch", 1);
        until("it stands in line", || line(&server.address(), "name").len() == 2);
        // It is told of its turn by now.
        thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        server.kill();
        server.restart();
        proxy.wait_for("/watch", 2);
        assert!(start.elapsed() < TOLD / 2, "{:?}", start.elapsed());
        guard.unlock().unwrap();
        drop(waiter.join().unwrap());
    });
}

#[test]
fn a_run_that_is_not_to_be_woken_asks_by_its_own_delays() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock = lock_at(&server.endpoint(), "name");
    let guard = lock.try_lock().unwrap();
    let policy = RetryPolicy::fixed(Duration::from_millis(50))
        .to_builder()
        .wake_on_release(false)
        .build()
        .unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| policy.run().acquire(&lock).map(|it| (it, Instant::now())));
        until("it stands in line", || line(&server.address(), "name").len() == 2);
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        guard.unlock().unwrap();
        let (next, locked) = waiter.join().unwrap().unwrap();
        assert!(locked - start < TOLD / 2, "{:?}", locked - start);
        drop(next);
    });
}

fn shape(body: &str) -> Fake {
    Fake::answering(200, "application/json", body)
}

#[test]
fn a_server_that_grants_for_ever_causes_no_panic() {
    let fake = shape(r#"{"header":{"revision":"5"},"TTL":"18446744073709551615"}"#);
    let error =
        at_most(Duration::ZERO).run().acquire(&lock_at(&fake.endpoint(), "name")).unwrap_err();
    assert!(!error.to_string().contains("panicked"), "{error}");
    let text = error.last.unwrap().to_string();
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn an_answer_without_a_revision_gives_no_token() {
    let fake = shape(r#"{"succeeded":true,"TTL":"10"}"#);
    let error = lock_at(&fake.endpoint(), "name").try_lock().unwrap_err();
    assert!(error.to_string().contains("unexpected answer"), "{error}");
}

/// A key that is never there when it is looked for, as where somebody deletes all keys.
#[test]
fn a_waiter_whose_key_is_gone_each_time_takes_its_delays_and_ends_with_its_run() {
    let first = r#"{"response_range":{"kvs":[{"key":"bmFtZS94","create_revision":"3"}]}}"#;
    let body = format!(r#"{{"header":{{"revision":"5"}},"TTL":"600","responses":[{{}},{first}]}}"#);
    let fake = shape(&body);
    let proxy = Proxy::to(fake.endpoint().strip_prefix("http://").unwrap());
    let policy =
        RetryPolicy::fixed(Duration::from_secs(600)).with_max_elapsed(Duration::from_millis(500));
    policy.run().acquire(&lock_at(&proxy.endpoint(), "name")).unwrap_err();
    let grants = proxy.count("/lease/grant");
    assert!(grants <= 4, "{grants} grants");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(proxy.count("/lease/grant"), grants);
}

/// As after a firewall has forgotten a connection.
#[test]
fn a_renewal_on_a_dead_connection_leaves_time_for_another_one() {
    require_etcd!();
    let server = Server::start(&[]);
    let proxy = Proxy::to(&server.address());
    let ttl = Duration::from_secs(3);
    let lock = lock_at(&proxy.endpoint(), "name").ttl(ttl).request_timeout(Duration::from_secs(60));
    let guard = lock.try_lock().unwrap();
    proxy.set("/lease/keepalive", Fate::Unanswered);
    proxy.wait_for("/lease/keepalive", 1);
    proxy.let_go();
    assert!(!guard.lost().wait_timeout(2 * ttl), "lost");
    guard.unlock().unwrap();
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_is_woken_in_a_runtime_without_io() {
    require_etcd!();
    let server = Server::start(&[]);
    let lock = lock_at(&server.endpoint(), "name");
    let guard = lock.try_lock().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| runtime.block_on(patient().run().acquire_async(&lock)));
        until("it stands in line", || line(&server.address(), "name").len() == 2);
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        guard.unlock().unwrap();
        let next = waiter.join().unwrap().unwrap();
        assert!(start.elapsed() < TOLD / 2, "{:?}", start.elapsed());
        drop(next);
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_guard_is_unlocked_in_a_runtime_that_has_ended() {
    require_etcd!();
    let server = Server::start(&[]);
    let guard = lock_at(&server.endpoint(), "name").try_lock().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let error = handle.block_on(guard.unlock_async()).unwrap_err();
    assert_eq!(error.to_string(), "cannot wait for the release of name");
    assert_eq!(line(&server.address(), "name"), []);
}
