//! One owner at a time: between processes, threads and guards.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use pidlockfile::Error;

use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, lock_spinning, record_of};

#[test]
fn a_lock_is_taken_and_given_back() {
    let sandbox = Sandbox::new();
    let guard = sandbox.lock();
    assert_eq!(guard.path(), sandbox.path());
    assert_eq!(sandbox.record(), record_of(std::process::id()));
    guard.unlock().unwrap();
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn dropping_the_guard_gives_the_lock_back() {
    let sandbox = Sandbox::new();
    drop(sandbox.lock());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_lock_held_by_another_process_is_busy_until_that_releases_it() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { path, pid, kernel_locked }) => {
            assert_eq!((path, pid, kernel_locked), (sandbox.path(), Some(owner.pid()), true));
        }
        other => panic!("{other:?}"),
    }
    owner.must("unlock");
    sandbox.assert_free_and_clean();
}

#[test]
fn a_second_lock_in_the_same_process_is_busy_with_our_own_pid() {
    let sandbox = Sandbox::new();
    let _guard = sandbox.lock();
    let from_any_thread = || match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid, kernel_locked: true, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
        }
        other => panic!("{other:?}"),
    };
    from_any_thread();
    thread::scope(|scope| scope.spawn(from_any_thread).join().unwrap());
}

#[test]
fn a_refused_attempt_changes_nothing_on_disk() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    let before = fs::metadata(sandbox.dir()).unwrap().modified().unwrap();
    let record_before = fs::metadata(sandbox.path()).unwrap().modified().unwrap();
    for _ in 0..100 {
        assert!(sandbox.lockfile().try_lock().is_err());
    }
    assert_eq!(fs::metadata(sandbox.dir()).unwrap().modified().unwrap(), before);
    assert_eq!(fs::metadata(sandbox.path()).unwrap().modified().unwrap(), record_before);
    assert_eq!(sandbox.names(), ["test.pid"]);
}

#[test]
fn a_guard_moves_to_another_thread_and_is_dropped_there() {
    let sandbox = Sandbox::new();
    let guard = sandbox.lock();
    thread::spawn(move || drop(guard)).join().unwrap();
    sandbox.assert_free_and_clean();
}

#[test]
fn a_panic_while_holding_releases() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("panic");
    sandbox.assert_free_and_clean();
}

#[test]
fn eight_threads_lose_no_count() {
    const ROUNDS: u32 = 200;
    let sandbox = Sandbox::new();
    let counter = AtomicU32::new(0);
    let lockfile = sandbox.lockfile();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let guard = lock_spinning(&lockfile);
                    // Deliberately not one atomic step: an overlap would lose a count.
                    let count = counter.load(Ordering::Relaxed);
                    thread::yield_now();
                    counter.store(count + 1, Ordering::Relaxed);
                    guard.unlock().unwrap();
                }
            });
        }
    });
    assert_eq!(counter.into_inner(), 8 * ROUNDS);
    sandbox.assert_free_and_clean();
}

#[test]
fn eight_processes_lose_no_count() {
    let sandbox = Sandbox::new();
    let counter = sandbox.dir().join("count");
    fs::write(&counter, "0").unwrap();
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::at(&sandbox.path())).collect();
    for peer in &mut peers {
        peer.tell("count 100");
    }
    for peer in &mut peers {
        assert_eq!(peer.answer(), "ok");
    }
    assert_eq!(fs::read_to_string(&counter).unwrap(), "800");
    fs::remove_file(counter).unwrap();
    sandbox.assert_free_and_clean();
}
