//! Stale files are replaced at once; a live owner's file never is.

use std::fs;

#[cfg(target_arch = "x86_64")]
use nix::libc;
use pidlockfile::Error;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{
    Bystander, DEAD_PID, OTHER_USER, Sandbox, is_root, record_of, require,
};
use crate::support::trace::{Traced, require_traced};

fn assert_busy_by_record(sandbox: &Sandbox, owner: u32) {
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid, kernel_locked: false, .. }) => assert_eq!(pid, Some(owner)),
        other => panic!("{other:?}"),
    }
    assert_eq!(sandbox.names(), ["test.pid"]);
}

fn assert_replaced_at_once(sandbox: &Sandbox) {
    let guard = sandbox.lock();
    assert_eq!(sandbox.record(), record_of(std::process::id()));
    guard.unlock().unwrap();
    sandbox.assert_free_and_clean();
}

#[test]
fn a_file_without_a_valid_pid_is_replaced_at_once() {
    for record in ["", "\n", "-1\n", "0\n", "a\n", "00\n", "\0\0\0", "99999999999\n"] {
        let sandbox = Sandbox::new();
        sandbox.plant(record);
        assert_replaced_at_once(&sandbox);
    }
}

#[test]
fn a_file_of_a_dead_process_is_replaced_at_once() {
    let sandbox = Sandbox::new();
    sandbox.plant(record_of(DEAD_PID));
    assert_replaced_at_once(&sandbox);
}

#[test]
fn a_file_with_the_pid_of_a_live_process_is_busy_even_if_another_wrote_it() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    assert_busy_by_record(&sandbox, bystander.pid());
    assert_eq!(sandbox.record(), record_of(bystander.pid()));
    drop(bystander);
    assert_replaced_at_once(&sandbox);
}

#[test]
fn kernel_lock_only_replaces_the_file_of_a_live_process_that_holds_no_kernel_lock() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    let guard = sandbox.lockfile().kernel_lock_only().try_lock().unwrap();
    assert_eq!(sandbox.record(), record_of(std::process::id()));
    guard.unlock().unwrap();
}

#[test]
fn kernel_lock_only_honours_the_kernel_lock() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    match sandbox.lockfile().kernel_lock_only().try_lock() {
        Err(Error::Busy { pid, kernel_locked: true, .. }) => assert_eq!(pid, Some(owner.pid())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_own_pid_without_a_kernel_lock_is_a_leftover_of_an_earlier_process() {
    let sandbox = Sandbox::new();
    sandbox.plant(record_of(std::process::id()));
    assert_replaced_at_once(&sandbox);
}

#[test]
fn a_process_of_another_user_that_may_not_be_signalled_is_alive() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    let mut peer = Peer::at(&sandbox.path());
    peer.must(&format!("become {OTHER_USER}"));
    let answer = peer.ask("try_lock");
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: false"), "{answer}");
    assert_eq!(peer.ask("owner"), format!("Some({})", bystander.pid()));
}

#[test]
fn a_zombie_owns_nothing() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.kill_without_reaping();
    assert!(matches!(
        sandbox.lockfile().owner(),
        Err(Error::DeadOwner { pid, .. }) if pid == owner.pid()
    ));
    assert_replaced_at_once(&sandbox);
}

#[test]
fn a_zombie_that_is_reaped_before_any_system_call_of_an_attempt_owns_nothing() {
    for nth in 0.. {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        owner.kill_without_reaping();
        let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
        let reached = traced.run_to_nth("try_lock", nth);
        owner.kill();
        assert_eq!(traced.go_on().answer(), "ok", "reaped before system call {nth}");
        if !reached {
            assert!(nth > 5);
            break;
        }
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_is_alive() {
    let sandbox = Sandbox::new();
    let mut peer = Peer::at(&sandbox.path());
    peer.must("fork");
    let pid = peer.ask("child pid").parse().unwrap();
    peer.must("child go_on_in_a_thread");
    sandbox.plant(record_of(pid));
    assert_busy_by_record(&sandbox, pid);
    assert_eq!(sandbox.lockfile().owner().unwrap(), Some(pid));
}

/// A thread that calls execve(2) takes over the pid of the first one. A status that is read in that moment
/// shows a zombie without threads. That happens once in some thousand reads, so it is simulated here.
#[test]
#[cfg(target_arch = "x86_64")]
fn an_owner_that_calls_execve_in_a_thread_is_alive() {
    let sandbox = Sandbox::new();
    let owner = Bystander::new();
    sandbox.plant(record_of(owner.pid()));
    let mut traced = require_traced!(Traced::new(Peer::at(&sandbox.path())));
    let mut opened = false;
    assert!(traced.run_to("try_lock", |call| {
        let reads = opened && call.number == libc::SYS_read;
        opened |= call.number == libc::SYS_openat && call.path(1).ends_with("/status");
        reads
    }));
    traced.change_what_is_read(|status| {
        for (field, value) in [("\nState:\t", b'Z'), ("\nThreads:\t", b'0')] {
            let at = status.windows(field.len()).position(|bytes| bytes == field.as_bytes());
            status[at.unwrap() + field.len()] = value;
        }
    });
    let answer = traced.go_on().answer();
    assert!(answer.starts_with("Busy {"), "{answer}");
}

#[test]
fn the_id_of_a_thread_is_no_process() {
    let sandbox = Sandbox::new();
    let mut peer = Peer::at(&sandbox.path());
    let thread: u32 = peer.ask("park_a_thread").parse().unwrap();
    assert_ne!(thread, peer.pid());
    sandbox.plant(record_of(thread));
    assert!(matches!(sandbox.lockfile().owner(), Err(Error::DeadOwner { .. })));
    assert_replaced_at_once(&sandbox);
}

#[test]
fn where_proc_is_hidden_a_zombie_counts_as_alive() {
    require!(is_root(), "needs root, to hide /proc");
    let sandbox = Sandbox::new();
    let mut zombie = Peer::at(&sandbox.path());
    zombie.kill_without_reaping();
    sandbox.plant(record_of(zombie.pid()));
    let mut peer = Peer::at(&sandbox.path());
    peer.must("hide_proc");
    let answer = peer.ask("try_lock");
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: false"), "{answer}");
}

#[test]
fn a_proc_of_another_pid_namespace_robs_no_owner() {
    require!(is_root(), "needs root, to make a pid namespace");
    let sandbox = Sandbox::new();
    let mut outside = Peer::at(&sandbox.path());
    // Outside, this is the id of a thread, and so no owner.
    let id: u32 = outside.ask("park_a_thread").parse().unwrap();
    // Inside, it is a process, and /proc still shows the thread.
    let mut inside = Peer::at(&sandbox.path());
    inside.must("enter_pid_namespace");
    inside.must(&format!("child fork_with_pid {id}"));
    sandbox.plant(record_of(id));
    let answer = inside.ask("child try_lock");
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: false"), "{answer}");
    assert_eq!(inside.ask("child owner"), format!("Some({id})"));
}

#[test]
fn owner_tells_absent_invalid_dead_and_live_apart() {
    let sandbox = Sandbox::new();
    let lockfile = sandbox.lockfile();
    assert_eq!(lockfile.owner().unwrap(), None);
    sandbox.plant("garbage");
    assert!(matches!(lockfile.owner(), Err(Error::InvalidPid { path }) if path == sandbox.path()));
    sandbox.plant(record_of(DEAD_PID));
    assert!(matches!(lockfile.owner(), Err(Error::DeadOwner { pid: DEAD_PID, .. })));
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    assert_eq!(lockfile.owner().unwrap(), Some(bystander.pid()));
}

#[test]
fn asking_for_the_owner_takes_no_kernel_lock() {
    let sandbox = Sandbox::new();
    sandbox.plant(record_of(DEAD_PID));
    let traced = crate::support::trace::Traced::new(Peer::at(&sandbox.path()));
    require!(traced.is_some(), "tracing is forbidden");
    let calls = traced.unwrap().calls("owner");
    assert!(calls.contains(&nix::libc::SYS_pread64), "{calls:?}");
    assert!(!calls.contains(&nix::libc::SYS_flock), "{calls:?}");
}
