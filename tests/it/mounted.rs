//! Tests that only `tests/filesystems.sh` runs, on a file system that it has mounted.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use pidlockfile::retry::RetryPolicy;
use pidlockfile::{Error, Lockfile};

use crate::support::peer::Peer;
use crate::support::sandbox::{lock_spinning, record_of, test_dir};

fn given_dir(variable: &str) -> PathBuf {
    env::var_os(variable).expect("tests/filesystems.sh says where").into()
}

#[test]
#[ignore = "tests/filesystems.sh gives it a directory"]
fn a_lock_is_handed_over_and_the_time_is_printed() {
    let dir = tempfile::tempdir_in(test_dir()).unwrap();
    let lockfile = Lockfile::new(dir.path().join("test.pid")).unwrap();
    let mut times: Vec<Duration> = (0..15).map(|_| hand_over(&lockfile)).collect();
    times.sort();
    println!("HAND-OVER {:.2} ms", times[times.len() / 2].as_secs_f64() * 1000.0);
}

/// How long nobody has the lock when its owner releases it while another thread waits for it.
fn hand_over(lockfile: &Lockfile) -> Duration {
    let guard = lockfile.try_lock().unwrap();
    let (sender, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            let policy = RetryPolicy::default();
            let guard =
                policy.run().on_wait(|_| sender.send(()).unwrap()).acquire(lockfile).unwrap();
            let acquired = Instant::now();
            guard.unlock().unwrap();
            acquired
        });
        waiting.recv().unwrap();
        // Long enough for the waiter to be asleep, as most waiters are.
        thread::sleep(Duration::from_millis(15));
        let released = Instant::now();
        guard.unlock().unwrap();
        waiter.join().unwrap().saturating_duration_since(released)
    })
}

/// Two mounts of one directory that share no kernel lock: only the pid protects.
#[test]
#[ignore = "tests/filesystems.sh gives it a mount and the directory behind it"]
fn a_lock_taken_on_one_side_of_a_mount_is_refused_on_the_other() {
    let mount = test_dir().join("test.pid");
    let behind = given_dir("PIDLOCKFILE_TEST_DIR_BEHIND").join("test.pid");
    for [one, other] in [[&mount, &behind], [&behind, &mount]] {
        let mut owner = Peer::holding(one);
        assert_refused_by_pid(other, owner.pid());
        owner.must("verify");
        owner.must("unlock");
        owner.must("try_lock");
        owner.must("fork");
        owner.must("child adopt");
        let child = owner.ask("child pid").parse().unwrap();
        assert_refused_by_pid(other, child);
        owner.must("child unlock");
        owner.must("end_child");

        // A killed owner blocks nobody, even if its file was created on the other side.
        let mut owner = Peer::holding(one);
        owner.kill();
        lock_spinning(&Lockfile::new(other).unwrap()).unlock().unwrap();
    }
}

fn assert_refused_by_pid(path: &Path, owner: u32) {
    for _ in 0..100 {
        match Lockfile::new(path).unwrap().try_lock() {
            Err(Error::Busy { pid, kernel_locked: false, .. }) => assert_eq!(pid, Some(owner)),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    assert_eq!(fs::read_to_string(path).unwrap(), record_of(owner));
}

#[test]
#[ignore = "tests/filesystems.sh gives it two directories, and 100,000 files in one of them"]
fn a_cycle_beside_a_hundred_thousand_files_costs_at_most_a_tenth_more() {
    let lockfiles = ["empty", "crowded"]
        .map(|dir| Lockfile::new(test_dir().join(dir).join("test.pid")).unwrap());
    // The shortest of many rounds, taken in turn, is the true cost on a machine that does other things, too.
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..40 {
        for (lockfile, shortest) in lockfiles.iter().zip(&mut shortest) {
            let started = Instant::now();
            for _ in 0..25 {
                lockfile.try_lock().unwrap().unlock().unwrap();
            }
            *shortest = started.elapsed().min(*shortest);
        }
    }
    let ratio = shortest[1].as_secs_f64() / shortest[0].as_secs_f64();
    println!("CROWDED {ratio:.3} of {:.0} us", shortest[0].as_secs_f64() * 1e6 / 25.0);
    assert!(ratio <= 1.1, "{ratio}");
}
