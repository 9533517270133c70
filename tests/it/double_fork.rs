//! `examples/double_fork.rs` as a process: the lock passes from the command to the daemon, and is never free.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Command, Output, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pidlockfile::Error;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::support::ability::require_able;
use crate::support::example;
use crate::support::sandbox::{Sandbox, is_root, record_of, require, set_mode};

/// A user that has no other process, also if these tests are run twice at a time.
fn lonely_user() -> u32 {
    60_000 + process::id() % 5_000
}

/// A daemon that is killed in the end, if it still runs.
struct Daemon {
    pid: u32,
    pidfd: OwnedFd,
}

impl Daemon {
    fn start(sandbox: &Sandbox) -> Daemon {
        let output = start(sandbox);
        assert!(output.status.success(), "{output:?}");
        assert_eq!([output.stdout, output.stderr].concat(), b"");
        Daemon::recorded_in(sandbox)
    }

    fn recorded_in(sandbox: &Sandbox) -> Daemon {
        let pid = sandbox.record().trim_end().parse().unwrap();
        let number = rustix::process::Pid::from_raw(u32::cast_signed(pid)).unwrap();
        Daemon { pid, pidfd: pidfd_open(number, PidfdFlags::empty()).unwrap() }
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid.cast_signed()), signal).unwrap();
    }

    fn wait(&self) {
        let ended = PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN);
        assert_eq!(poll(&mut [ended], PollTimeout::NONE), Ok(1));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended, and its pid may be free by now.
        let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        self.wait();
    }
}

fn start(sandbox: &Sandbox) -> Output {
    example::command("double_fork").arg(sandbox.path()).output().unwrap()
}

/// Starts it under a limit, and expects it to fail.
fn start_and_fail(sandbox: &Sandbox, limit: &str, user: Option<u32>) -> String {
    let example = example::command("double_fork");
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(example.get_program()).arg(sandbox.path());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_lock_is_never_free_while_it_passes_from_the_command_to_the_daemon() {
    // Elsewhere the record is there before the command knows that the lock is its own, and the looks of this test can
    // take that from it.
    require_able!(UnnamedFiles);
    let sandbox = Sandbox::new();
    let mut command = example::command("double_fork").arg(sandbox.path()).spawn().unwrap();
    while !fs::read(sandbox.path()).is_ok_and(|record| !record.is_empty()) {
        assert!(command.try_wait().unwrap().is_none_or(|status| status.success()));
    }
    let mut seen = vec![]; // without repetitions
    loop {
        // In this order: one more look follows the command's end.
        let end = command.try_wait().unwrap();
        match sandbox.lockfile().try_lock() {
            Err(Error::Busy { pid, kernel_locked: true, .. }) if seen.last() == Some(&pid) => {}
            Err(Error::Busy { pid, kernel_locked: true, .. }) => seen.push(pid),
            other => panic!("after {seen:?}: {other:?}"),
        }
        if let Some(status) = end {
            assert!(status.success());
            break;
        }
    }
    let daemon = Daemon::recorded_in(&sandbox);
    assert_ne!(daemon.pid, command.id());
    let ours = [Some(command.id()), None, Some(daemon.pid)];
    assert!(seen.iter().all(|pid| ours.contains(pid)), "{ours:?}: {seen:?}");
    assert_eq!(seen.last(), Some(&Some(daemon.pid)));
}

#[test]
fn the_daemon_has_left_its_terminal_its_directory_and_its_session() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    assert_eq!(fs::read_link(daemon.proc("cwd")).unwrap(), PathBuf::from("/"));
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(fs::read_link(daemon.proc(stream)).unwrap(), PathBuf::from("/dev/null"));
    }
    let status = fs::read_to_string(daemon.proc("status")).unwrap();
    assert!(status.contains("\nUmask:\t0000\n"), "{status}");
    let stat = fs::read_to_string(daemon.proc("stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_eq!(terminal, "0");
    let ours = nix::unistd::getsid(None).unwrap().to_string();
    assert!(session != ours && session != daemon.pid.to_string(), "it leads none: {stat}");
}

#[test]
fn a_second_daemon_is_refused_in_words_and_the_first_one_keeps_the_lock() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let output = start(&sandbox);
    assert_eq!(output.status.code(), Some(1));
    let path = sandbox.path();
    let refusal = format!("double_fork: {} is locked by process {}\n", path.display(), daemon.pid);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), refusal);
    assert_eq!(sandbox.record(), record_of(daemon.pid));
}

#[test]
fn a_signal_ends_the_daemon_and_removes_the_file() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        let daemon = Daemon::start(&sandbox);
        daemon.signal(signal);
        daemon.wait();
        assert!(!sandbox.path().exists());
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn a_killed_daemon_leaves_the_lock_free() {
    let sandbox = Sandbox::new();
    drop(Daemon::start(&sandbox));
    assert!(sandbox.path().exists());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_daemon_that_cannot_start_says_why_through_the_command_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let complaint = start_and_fail(&sandbox, "--nofile=8", None);
    let reason = "double_fork: the daemon failed: Too many open files (os error 24)\n";
    assert_eq!(complaint, reason);
    sandbox.assert_free_and_clean();
}

#[test]
fn a_second_fork_that_fails_is_told_through_the_command_too() {
    require!(is_root(), "needs root, to become a user without other processes");
    let sandbox = Sandbox::new();
    set_mode(sandbox.dir(), 0o777);
    // The command and the child between.
    let complaint = start_and_fail(&sandbox, "--nproc=2", Some(lonely_user()));
    let reason = "double_fork: the daemon failed: EAGAIN: Try again\n";
    assert_eq!(complaint, reason);
    sandbox.assert_free_and_clean();
}

#[test]
fn a_missing_directory_is_told_with_the_systems_own_words() {
    let output = example::command("double_fork").arg("/no/such/directory/x.pid").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.ends_with("/x.pid: No such file or directory (os error 2)\n"), "{complaint}");
}

/// strace kills it at umask(2), which nothing but the daemon calls.
#[test]
fn a_daemon_that_is_killed_before_it_is_ready_fails_the_command_and_leaves_nothing() {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    require!(strace.is_ok_and(|status| status.success()), "needs strace");
    let sandbox = Sandbox::new();
    let example = example::command("double_fork");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=umask:signal=KILL"])
        .arg(example.get_program())
        .arg(sandbox.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaint, "double_fork: the daemon ended before it was ready\n");
    sandbox.assert_free_and_clean();
}
