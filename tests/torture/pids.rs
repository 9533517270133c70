//! Recycled pids: in its own pid namespace, the fight chooses the next pid.

use std::fs::File;
use std::io::Write as _;
use std::process::{self, Child};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// The pid of a worker in a pid namespace, and of its successors.
///
/// They are so far apart that no thread gets a pid that a dead thread had: with the /proc of another namespace,
/// nothing distinguishes a thread from a live process.
pub fn namespaced_pid(index: usize) -> u32 {
    100 + 10 * u32::try_from(index).unwrap()
}

/// Gives this free pid to the next process, in this pid namespace only.
pub fn recycle(pid: u32) {
    if is_namespaced() {
        let mut file = File::options().write(true).open("/proc/sys/kernel/ns_last_pid").unwrap();
        file.write_all((pid - 1).to_string().as_bytes()).unwrap();
    }
}

pub fn is_namespaced() -> bool {
    process::id() == 1
}

pub fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

pub fn send(child: &Child, signal: Signal) {
    signal::kill(pid_of(child), signal).unwrap();
}
