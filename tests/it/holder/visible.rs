//! What the system does not show to the asking process is no proof.

use crate::support::peer::Peer;
use crate::support::sandbox::{OTHER_USER, Sandbox, is_root, require, set_mode};

#[test]
fn what_the_system_does_not_show_is_no_proof_and_the_text_says_why() {
    require!(is_root(), "needs root, to hide /proc");
    for (cover, because) in [
        ("hide_proc", "/proc is not mounted, or shows another pid namespace"),
        ("refuse pidfd", "the system provides no pidfd for it"),
    ] {
        let sandbox = Sandbox::new();
        let owner = Peer::holding(&sandbox.path());
        let mut asker = Peer::at(&sandbox.path());
        asker.must(cover);
        let text = asker.ask("holder_text");
        assert!(text.contains(because) && text.contains(&owner.pid().to_string()), "{text}");
        // That nobody holds the lock is known all the same.
        drop(owner);
        assert_eq!(asker.ask("holder"), "nobody", "{cover}");
    }
}

#[test]
fn an_ordinary_user_proves_its_own_process_and_no_other_users() {
    require!(is_root(), "needs root, to become another user");
    let sandbox = Sandbox::new();
    set_mode(sandbox.dir(), 0o777);
    let mut own = Peer::at(&sandbox.path());
    own.must(&format!("become {OTHER_USER}"));
    own.must("mode 644");
    own.must("try_lock");
    // The kernel hides the files of a process that has changed its user, until it calls execve(2).
    let mut asker = Peer::at(&sandbox.path());
    asker.must(&format!("become {OTHER_USER}"));
    let text = asker.ask("holder_text");
    assert!(text.contains("this user may not see its open files"), "{text}");
    own.must("be_dumpable");
    for (user, proven) in [(OTHER_USER, true), (OTHER_USER - 1, false)] {
        let mut asker = Peer::at(&sandbox.path());
        asker.must(&format!("become {user}"));
        let answer = asker.ask("holder");
        if proven {
            assert_eq!(answer, own.pid().to_string());
        } else {
            assert!(answer.contains("this user may not see its open files"), "{answer}");
            assert!(answer.contains(&own.pid().to_string()), "{answer}");
        }
    }
}

#[test]
fn with_hidepid_a_user_proves_its_own_process_and_no_other_users() {
    require!(is_root(), "needs root, to mount /proc");
    let sandbox = Sandbox::new();
    set_mode(sandbox.dir(), 0o777);
    for (user, because) in [(0, "/proc does not show it to this user"), (OTHER_USER, "")] {
        let mut owner = Peer::at(&sandbox.path());
        owner.must(&format!("become {user}"));
        owner.must("be_dumpable");
        owner.must("mode 644");
        owner.must("try_lock");
        let mut asker = Peer::at(&sandbox.path());
        asker.must("mount_proc hidepid=2");
        asker.must(&format!("become {OTHER_USER}"));
        let answer = asker.ask("holder");
        if because.is_empty() {
            assert_eq!(answer, owner.pid().to_string());
        } else {
            assert!(answer.contains(because), "{answer}");
        }
        owner.must("unlock");
    }
}
