//! `-F`: it becomes the command, and the lock goes with it.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pidlockfile::Error;
use pidlockfile::retry::RetryPolicy;

use super::{line_of, output, with_lock};
use crate::sandbox::{Sandbox, record_of};

#[test]
fn the_command_has_its_pid_and_holds_the_lock_to_its_end() {
    let sandbox = Sandbox::new();
    let script = "echo $$; read line; exit 7";
    let mut child =
        with_lock(&["-F"], &sandbox, &["sh", "-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    assert_eq!(line_of(child.stdout.take().unwrap()), child.id().to_string());
    assert_eq!(sandbox.record(), record_of(child.id()));
    let Err(Error::Busy { pid, kernel_locked: true, .. }) = sandbox.lockfile().try_lock() else {
        panic!("the lock was lost in execve");
    };
    assert_eq!(pid, Some(child.id()));

    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    // Nobody is left to remove the file, and it blocks nobody.
    assert_eq!(sandbox.record(), record_of(child.id()));
    sandbox.assert_free_and_clean();
}

#[test]
fn a_child_that_the_command_leaves_behind_keeps_the_lock_as_with_flock() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 > /dev/null 2>&1 & echo $!";
    let (code, left_behind, _) = output(&["--no-fork"], &sandbox, &["sh", "-c", script]);
    let refused = sandbox.lockfile().try_lock();
    kill(Pid::from_raw(left_behind.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(code, Some(0));
    assert!(matches!(refused, Err(Error::Busy { kernel_locked: true, .. })), "{refused:?}");
    let waited = RetryPolicy::daemon().run().acquire(&sandbox.lockfile());
    waited.unwrap().unlock().unwrap();
}

#[test]
fn a_command_that_cannot_run_leaves_no_file() {
    let sandbox = Sandbox::new();
    let (code, _, complaint) = output(&["-F"], &sandbox, &["/no/such/program"]);
    assert_eq!(code, Some(69));
    assert!(complaint.starts_with("with_lock: cannot run /no/such/program: "), "{complaint}");
    assert_eq!(sandbox.names(), Vec::<String>::new());
}
