//! The lock and execve(2), after which the process has its pid still, and the lock no more.

use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use nix::sys::signal::Signal;
use pidlockfile::{Error, Lockfile};
use rustix::fd::BorrowedFd;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::support::ability::require_able;
use crate::support::example;
use crate::support::process::this_binary_again;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, record_of};

const PATH: &str = "PIDLOCKFILE_EXEC_PATH";
const SCRIPT: &str = "PIDLOCKFILE_EXEC_SCRIPT";
const INHERIT: &str = "PIDLOCKFILE_EXEC_INHERIT";

/// Prints a line, and runs until its standard input ends.
const UNAWARE: &str = "echo running; exec cat";

/// A process that takes the lock and becomes a shell, with the lock file's path as its argument. What it
/// prints begins with a line of the script.
fn locks_and_executes(sandbox: &Sandbox, script: &str, inherit: bool) -> Program {
    let mut command = this_binary_again("recipes::exec::lock_and_execute");
    command.env(PATH, sandbox.path()).env(SCRIPT, script);
    if inherit {
        command.env(INHERIT, "yes");
    }
    let mut program = Program::start(command.stderr(Stdio::inherit()));
    while program.line() != "executing" {}
    program
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn lock_and_execute() {
    let path = PathBuf::from(env::var_os(PATH).unwrap());
    let guard = Lockfile::new(&path).unwrap().try_lock().unwrap();
    if env::var_os(INHERIT).is_some() {
        // SAFETY: the guard keeps it open.
        let file = unsafe { BorrowedFd::borrow_raw(descriptor_of(&path).unwrap()) };
        fcntl_setfd(file, FdFlags::empty()).unwrap();
    }
    println!("\nexecuting");
    let error = Command::new("sh").arg("-c").arg(env::var_os(SCRIPT).unwrap()).arg(&path).exec();
    panic!("{error} {guard:?}");
}

/// The descriptor of this process that is the file under the path.
fn descriptor_of(path: &Path) -> Option<RawFd> {
    let inode = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    let mut descriptors = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let ours = descriptors.find(|entry| inode(&entry.path()) == inode(path))?;
    Some(ours.file_name().to_str().unwrap().parse().unwrap())
}

#[test]
fn a_program_that_knows_nothing_of_the_lock_does_not_keep_it_across_exec() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let mut program = locks_and_executes(&sandbox, UNAWARE, false);
    assert_eq!(program.line(), "running");
    assert_eq!(sandbox.record(), record_of(program.pid()), "its pid is there, and it runs");
    sandbox.lock().unlock().unwrap();
    assert!(program.end().0.success());
}

#[test]
fn a_program_that_locks_anew_after_exec_gets_the_lock_at_once_if_nobody_was_quicker() {
    let sandbox = Sandbox::new();
    let daemon = example::command("daemon");
    let script = format!("exec {} \"$0\"", daemon.get_program().display());
    let mut daemon = locks_and_executes(&sandbox, &script, false);
    assert_eq!(daemon.line(), format!("working as process {}", daemon.pid()));
    assert_eq!(sandbox.record(), record_of(daemon.pid()));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().0.success());
    assert!(!sandbox.path().exists());
}

#[test]
fn a_descriptor_made_to_stay_open_keeps_the_lock_across_exec_but_nobody_removes_the_file() {
    let sandbox = Sandbox::new();
    let mut program = locks_and_executes(&sandbox, UNAWARE, true);
    assert_eq!(program.line(), "running");
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid, kernel_locked: true, .. }) => assert_eq!(pid, Some(program.pid())),
        other => panic!("{other:?}"),
    }
    let holder = sandbox.lockfile().holder().unwrap().unwrap();
    assert_eq!(holder.pid(), program.pid());
    assert!(program.end().0.success());
    assert!(sandbox.path().exists());
    sandbox.lock().unlock().unwrap();
}

#[test]
fn a_started_program_has_no_part_in_the_lock() {
    let sandbox = Sandbox::new();
    let guard = sandbox.lock();
    let mut child = Program::start(Command::new("sh").args(["-c", UNAWARE]));
    assert_eq!(child.line(), "running");
    guard.unlock().unwrap();
    sandbox.lock().unlock().unwrap();
    let of_child = fs::read_dir(format!("/proc/{}/fd", child.pid())).unwrap();
    // What it closes meanwhile is none of ours.
    let files = of_child.filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok());
    let ours: Vec<_> = files.filter(|file| file.starts_with(sandbox.dir())).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

/// Its end closes the last copy of the shell's standard output, for which `end` waits.
#[test]
fn a_program_started_by_setpriv_dies_with_its_starter() {
    let job = "setpriv --pdeathsig KILL sh -c 'echo running; exec sleep 1000' & wait";
    let mut shell = Program::start(Command::new("sh").args(["-c", job]));
    assert_eq!(shell.line(), "running");
    shell.signal(Signal::SIGKILL);
    shell.end();
}
