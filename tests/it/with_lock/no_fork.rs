//! `-F`: it becomes the command, and the lock goes with it.

use pidlockfile::Error;
use pidlockfile::retry::RetryPolicy;

use super::{output, with_lock};
use crate::support::process::Survivor;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, record_of};

#[test]
fn the_command_has_its_pid_and_holds_the_lock_to_its_end() {
    let sandbox = Sandbox::new();
    let script = "echo $$; read line; exit 7";
    let mut program = Program::start(&mut with_lock(&["-F"], &sandbox, &["sh", "-c", script]));
    let its_pid = program.pid();
    assert_eq!(program.line(), its_pid.to_string());
    assert_eq!(sandbox.record(), record_of(its_pid));
    let Err(Error::Busy { pid, kernel_locked: true, .. }) = sandbox.lockfile().try_lock() else {
        panic!("the lock was lost in execve");
    };
    assert_eq!(pid, Some(its_pid));

    assert_eq!(program.end().0.code(), Some(7));
    // Nobody is left to remove the file, and it blocks nobody.
    assert_eq!(sandbox.record(), record_of(its_pid));
    sandbox.assert_free_and_clean();
}

#[test]
fn a_child_that_the_command_leaves_behind_keeps_the_lock_as_with_flock() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 > /dev/null 2>&1 & echo $!";
    let (code, left_behind, _) = output(&["--no-fork"], &sandbox, &["sh", "-c", script]);
    let left_behind = Survivor(left_behind.trim().parse().unwrap());
    let refused = sandbox.lockfile().try_lock();
    drop(left_behind);
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
