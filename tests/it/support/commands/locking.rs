//! What a peer does with the lock and its file.

use std::fs::{self, File};
use std::os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::{panic, thread};

use nix::sched::{CloneFlags, unshare};
use pidlockfile::{Error, Lockfile};

use crate::support::commands::Action::{Does, Says, Tries};
use crate::support::commands::{Command, State, number};
use crate::support::sandbox::lock_spinning;

pub const COMMANDS: &[Command] = &[
    ("try_lock", Tries(|peer, _| peer.lockfile.try_lock().map(|guard| peer.guard = Some(guard)))),
    ("verify", Tries(|peer, _| peer.guard().verify())),
    ("adopt", Tries(|peer, _| peer.guard().adopt())),
    ("unlock", Tries(|peer, _| peer.take_guard().unlock())),
    ("drop", Does(|peer, _| drop(peer.take_guard()))),
    ("panic", Does(|peer, _| panic_while_holding(peer))),
    ("kernel_lock_only", Does(|peer, _| peer.lockfile = peer.lockfile.clone().kernel_lock_only())),
    ("mode", Does(|peer, mode| peer.lockfile = peer.lockfile.clone().mode(octal(mode)))),
    // The text of the failed attempt, and whether another attempt may help.
    ("text", Says(|peer, _| refusal(peer).to_string())),
    ("is_temporary", Says(|peer, _| refusal(peer).is_temporary().to_string())),
    ("count", Does(|peer, rounds| count(&peer.lockfile, number(rounds)))),
    ("lock_in_a_thread", Does(|peer, _| lock_in_a_thread(peer.lockfile.clone()))),
    ("cycle_beside_a_stranger", Tries(|peer, _| cycle_beside_a_stranger(&peer.lockfile))),
    ("close_the_lock_file", Does(|peer, _| drop(take_descriptor_of(peer.path())))),
    ("reuse_the_lock_files_descriptor", Does(|peer, _| reuse_descriptor_of(peer.path()))),
    ("open_for_writing", Does(|peer, _| open_for_writing(peer.path()))),
    ("lock_for_reading", Does(|peer, how| lock_for_reading(peer.path(), how))),
];

pub fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).unwrap()
}

fn refusal(peer: &State) -> Error {
    peer.lockfile.try_lock().unwrap_err()
}

fn panic_while_holding(peer: &mut State) {
    let guard = peer.take_guard();
    let result = panic::catch_unwind(move || {
        let _guard = guard;
        panic::resume_unwind(Box::new("while holding"));
    });
    assert!(result.is_err());
}

/// Increments the number in a file as often as told, each time under the lock.
fn count(lockfile: &Lockfile, rounds: u32) {
    let file = lockfile.path().with_file_name("count");
    for _ in 0..rounds {
        let guard = lock_spinning(lockfile);
        let count: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
        fs::write(&file, (count + 1).to_string()).unwrap();
        guard.unlock().unwrap();
    }
}

/// Locks in a thread with its own descriptors, which holds the lock as long as the peer lives.
fn lock_in_a_thread(lockfile: Lockfile) {
    let (locked, is_locked) = mpsc::channel();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_FILES).unwrap();
        let _guard = lockfile.try_lock().unwrap();
        locked.send(()).unwrap();
        loop {
            thread::park();
        }
    });
    is_locked.recv().unwrap();
}

/// Locks and unlocks in a thread with its own descriptors, where the first thread's table has a stranger's file
/// under the number of the lock file's descriptor.
fn cycle_beside_a_stranger(lockfile: &Lockfile) -> Result<(), Error> {
    let stranger = File::open(lockfile.path().with_file_name("stranger")).unwrap();
    let number = stranger.into_raw_fd();
    let cycle = || {
        unshare(CloneFlags::CLONE_FILES).unwrap();
        nix::unistd::close(number).unwrap();
        let guard = lockfile.try_lock()?;
        guard.verify()?;
        guard.unlock()
    };
    thread::scope(|scope| scope.spawn(cycle).join().unwrap())
}

/// The guard's descriptor of the lock file, for what no careful program does with it.
fn take_descriptor_of(path: &Path) -> OwnedFd {
    let lock_file = fs::metadata(path).unwrap().ino();
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let number = entries
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|file| file.ino() == lock_file))
        .find_map(|entry| entry.file_name().to_str()?.parse().ok());
    // SAFETY: it breaks the guard, which is what is tested.
    unsafe { OwnedFd::from_raw_fd(number.unwrap()) }
}

fn reuse_descriptor_of(path: &Path) {
    let number = take_descriptor_of(path).into_raw_fd();
    nix::unistd::close(number).unwrap();
    let other = File::open("/dev/null").unwrap();
    assert_eq!(other.into_raw_fd(), number);
}

fn open_for_writing(path: &Path) {
    let _for_good = File::options().write(true).open(path).unwrap().into_raw_fd();
}

/// Takes the kernel lock through a file that is open for reading only.
fn lock_for_reading(path: &Path, how: &str) {
    let file = File::open(path).unwrap();
    match how {
        "shared" => file.lock_shared().unwrap(),
        "exclusive" => file.lock().unwrap(),
        _ => {}
    }
    let _for_good = file.into_raw_fd();
}
