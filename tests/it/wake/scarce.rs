//! A wait's use of scarce resources: inotify instances and descriptors, and who owns them.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, IntoRawFd as _, RawFd};
use std::sync::mpsc;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pidlockfile::retry::RetryPolicy;

use super::MS;
use crate::support::peer::Peer;
use crate::support::process::must_succeed;
use crate::support::sandbox::Sandbox;
use crate::support::waiting::long_wait;

/// The numbers of the inotify descriptors of this thread.
fn inotify_descriptors() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/thread-self/fd").unwrap().map(|it| it.unwrap().path());
    let is_inotify = |path: &std::path::PathBuf| {
        fs::read_link(path).is_ok_and(|link| link.ends_with("anon_inode:inotify"))
    };
    let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().parse();
    entries.filter(is_inotify).map(|path| name(path).unwrap()).collect()
}

fn wait_once() {
    let sandbox = Sandbox::new();
    let mut held = Some(sandbox.lock());
    long_wait(&sandbox.lockfile(), |_| drop(held.take())).unlock().unwrap();
}

#[test]
fn a_hundred_waits_for_a_hundred_locks_are_all_woken() {
    must_succeed("wake::scarce::process_with_a_hundred_waits");
}

#[test]
#[ignore = "not a test: a process that counts its descriptors"]
fn process_with_a_hundred_waits() {
    let sandboxes: Vec<_> = (0..100).map(|_| Sandbox::new()).collect();
    let held: Vec<_> = sandboxes.iter().map(Sandbox::lock).collect();
    let (waits, it_waits) = mpsc::channel();
    thread::scope(|scope| {
        for sandbox in &sandboxes {
            let waits = waits.clone();
            scope.spawn(move || {
                let lockfile = sandbox.lockfile();
                // A second time if another lock's events have woken it; then nobody listens.
                let guard = long_wait(&lockfile, |_| {
                    let _ = waits.send(());
                });
                guard.unlock().unwrap();
            });
        }
        it_waits.iter().take(100).for_each(drop);
        drop(held);
    });
    assert!(inotify_descriptors().len() <= 1);
}

#[test]
fn a_wait_that_takes_the_last_descriptors_goes_on_without_its_watch() {
    must_succeed("wake::scarce::process_with_few_descriptors");
}

#[test]
#[ignore = "not a test: a process with few descriptors"]
fn process_with_few_descriptors() {
    for free in 1..=6 {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let lockfile = sandbox.lockfile();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
        let mut all: Vec<File> = std::iter::from_fn(|| File::open("/").ok()).collect();
        all.truncate(all.len() - free);
        let run = RetryPolicy::fixed(20 * MS).run().on_wait(|attempt| {
            if attempt.number == 4 {
                owner.must("unlock");
            }
        });
        let guard = run.acquire(&lockfile).unwrap_or_else(|error| panic!("{free}: {error:?}"));
        guard.unlock().unwrap();
        drop(all);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    }
}

/// Puts another kind of descriptor in the place of the instance that the process keeps.
fn replace_by(stranger: &PipeReader) -> RawFd {
    let number = inotify_descriptors()[0];
    fcntl(stranger, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    nix::unistd::close(number).unwrap();
    // SAFETY: the number is free, and only the crate under test knows it.
    let put = unsafe { nix::unistd::dup2_raw(stranger, number) }.unwrap();
    put.into_raw_fd()
}

/// Waits where the number of the kept instance refers to a stranger's descriptor, which must stay untouched.
fn wait_beside_a_stranger() {
    wait_once();
    let (stranger, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a stranger's").unwrap();
    let number = replace_by(&stranger);
    wait_once();
    // SAFETY: `replace_by` made it ours.
    let mut stranger = unsafe { File::from_raw_fd(number) };
    drop(writer);
    let mut text = String::new();
    stranger.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a stranger's");

    let (stranger, _) = io::pipe().unwrap();
    // At its end, reads return nothing, for ever.
    let number = replace_by(&stranger);
    wait_once();
    let link = fs::read_link(format!("/proc/thread-self/fd/{number}")).unwrap();
    assert!(link.to_string_lossy().starts_with("pipe:"), "{}", link.display());
}

#[test]
fn a_program_that_has_closed_all_descriptors_waits_without_touching_later_ones() {
    must_succeed("wake::scarce::process_that_has_closed_its_descriptors");
}

#[test]
#[ignore = "not a test: a process that closes descriptors"]
fn process_that_has_closed_its_descriptors() {
    wait_beside_a_stranger();
}

#[test]
fn a_thread_with_descriptors_of_its_own_waits_without_touching_them() {
    must_succeed("wake::scarce::process_with_a_thread_apart");
}

#[test]
#[ignore = "not a test: a process whose threads do not share their descriptors"]
fn process_with_a_thread_apart() {
    wait_once();
    let before = inotify_descriptors();
    let apart = thread::spawn(|| {
        unshare(CloneFlags::CLONE_FILES).unwrap();
        wait_beside_a_stranger();
    });
    apart.join().unwrap();
    // The other threads' instance is still there, and their waits still use it.
    assert_eq!(inotify_descriptors(), before);
    wait_once();
}
