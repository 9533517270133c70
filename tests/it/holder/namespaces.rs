//! In another pid namespace a pid means another process, which is never taken for the holder.

use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, Sandbox, is_root, record_of, require};

/// The pid of both an owner and an innocent process, each in its own container.
pub const SHARED_PID: u32 = 77;

/// A peer whose child is process 1 of a new pid namespace, and whose grandchild has the shared pid there.
pub fn container(sandbox: &Sandbox) -> Peer {
    let mut peer = Peer::at(&sandbox.path());
    peer.must("enter_pid_namespace");
    peer.must(&format!("child fork_with_pid {SHARED_PID}"));
    peer
}

/// A peer whose child is in the pid namespace of that container.
pub fn visitor(sandbox: &Sandbox, container: &mut Peer) -> Peer {
    let mut visitor = Peer::at(&sandbox.path());
    visitor.must(&format!("join_pid_namespace {}", container.ask("pid_of_child")));
    visitor
}

#[test]
fn the_owner_of_one_container_is_not_mistaken_for_a_process_of_another() {
    require!(is_root(), "needs root, to make pid namespaces");
    let sandbox = Sandbox::new();
    let mut theirs = container(&sandbox);
    theirs.must("child child try_lock");
    assert_eq!(sandbox.record(), record_of(SHARED_PID));
    let mut ours = container(&sandbox);
    let mut asker = visitor(&sandbox, &mut ours);
    // With the /proc of the host, and with one of its own.
    for proc in [None, Some("child mount_proc")] {
        if let Some(mount) = proc {
            asker.must(mount);
        }
        let answer = asker.ask("child kill_holder");
        assert!(answer.starts_with("Unproven {") && answer.contains("Some(77)"), "{answer}");
        assert!(answer.contains("recorded in another container"), "{answer}");
        assert_eq!(ours.ask("child child pid"), SHARED_PID.to_string(), "the innocent lives");
    }
    theirs.must("child child unlock");
    assert_eq!(asker.ask("child holder"), "nobody");
}

#[test]
fn the_owner_of_a_container_is_not_mistaken_for_a_process_of_the_host() {
    require!(is_root(), "needs root, to make a pid namespace");
    let sandbox = Sandbox::new();
    let mut innocent = Bystander::new();
    let mut inside = Peer::at(&sandbox.path());
    inside.must("enter_pid_namespace");
    inside.must(&format!("child fork_with_pid {}", innocent.pid()));
    inside.must("child child try_lock");
    assert_eq!(sandbox.record(), record_of(innocent.pid()));
    let mut asker = Peer::at(&sandbox.path());
    let answer = asker.ask("kill_holder");
    assert!(answer.contains("recorded in another container"), "{answer}");
    assert!(innocent.is_alive());
    inside.must("child child verify");
}

/// Such a process has the file open with its kernel lock, and its number outside is the one in the file.
#[test]
fn a_fork_of_the_owner_that_has_the_recorded_number_only_out_here_is_not_the_holder() {
    require!(is_root(), "needs root, to make a pid namespace");
    let sandbox = Sandbox::new();
    let mut inside = Peer::at(&sandbox.path());
    inside.must("enter_pid_namespace");
    inside.must("child try_lock");
    inside.must("child fork");
    // The owner is process 1 in the namespace, and records the number that its fork has outside.
    let fork = inside.ask("child pid_of_child");
    assert_ne!(fork, inside.ask("pid_of_child"));
    let out_here: u32 = inside.ask("child child pid_in_host").parse().unwrap();
    std::fs::write(sandbox.path(), record_of(out_here)).unwrap();
    let mut asker = Peer::at(&sandbox.path());
    let answer = asker.ask("kill_holder");
    assert!(answer.contains("recorded in another container"), "{answer}");
    inside.must("child child drop");
}

#[test]
fn within_a_container_the_holder_is_found_whichever_proc_is_mounted() {
    require!(is_root(), "needs root, to make a pid namespace");
    let sandbox = Sandbox::new();
    let mut inside = container(&sandbox);
    inside.must("child child try_lock");
    let mut asker = visitor(&sandbox, &mut inside);
    assert_eq!(asker.ask("child holder"), SHARED_PID.to_string(), "the host's");
    asker.must("child mount_proc");
    assert_eq!(asker.ask("child kill_holder"), SHARED_PID.to_string(), "its own");
    inside.must("child end_child");
    assert_eq!(asker.ask("child holder"), "nobody");
}
