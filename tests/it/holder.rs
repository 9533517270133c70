//! The process that holds the lock is found if it can be proven, and no other process is ever taken for it.

#[cfg(feature = "retry")]
mod control;
mod crowd;
mod namespaces;
mod schedule;
mod visible;
mod wait;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use nix::libc;
use pidlockfile::Error;

use crate::support::peer::Peer;
use crate::support::process::Survivor;
use crate::support::program::Program;
use crate::support::sandbox::{Bystander, DEAD_PID, PUBLISHING, Sandbox, holder, record_of};
use crate::support::trace::{Traced, require_traced};

#[track_caller]
fn assert_holder(sandbox: &Sandbox, pid: u32) {
    assert_eq!(holder(&sandbox.lockfile()).pid(), pid);
}

/// The lock is held or honoured, but its holder is not proven, for this reason.
#[track_caller]
fn assert_unproven(sandbox: &Sandbox, hint: Option<u32>, because: &str) {
    match sandbox.lockfile().holder() {
        Err(error @ Error::Unproven { pid, .. }) => {
            assert_eq!(pid, hint);
            assert!(error.to_string().contains(because), "{error}");
            assert!(!error.is_temporary());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_holder_is_the_process_that_took_the_lock() {
    for refused in PUBLISHING {
        let sandbox = Sandbox::new();
        let mut owner = Peer::without(&sandbox.path(), refused);
        owner.must("try_lock");
        assert_holder(&sandbox, owner.pid());
        assert_eq!(owner.ask("holder"), owner.pid().to_string(), "asked by itself");
        owner.must("unlock");
        assert!(sandbox.lockfile().holder().unwrap().is_none());
    }
}

#[test]
fn a_lock_that_nobody_holds_has_no_holder_and_is_left_as_it_is() {
    let live = Bystander::new();
    let plant: [&dyn Fn(&Sandbox); 6] = [
        &|_| (),
        &|sandbox| sandbox.plant(record_of(DEAD_PID)),
        &|sandbox| sandbox.plant(""),
        &|sandbox| sandbox.plant("junk"),
        &|sandbox| sandbox.plant_leftover(live.pid()),
        // Our own pid without a kernel lock was left by an earlier process.
        &|sandbox| sandbox.plant(record_of(std::process::id())),
    ];
    for plant in plant {
        let sandbox = Sandbox::new();
        plant(&sandbox);
        let before = state(&sandbox);
        assert!(sandbox.lockfile().holder().unwrap().is_none(), "{before:?}");
        assert_eq!(state(&sandbox), before);
        sandbox.assert_free_and_clean();
    }
}

/// Everything about the file that another process can observe.
fn state(sandbox: &Sandbox) -> Option<(Vec<u8>, u64, i64, i64)> {
    let stat = fs::metadata(sandbox.path()).ok()?;
    Some((fs::read(sandbox.path()).unwrap(), stat.ino(), stat.mtime_nsec(), stat.ctime_nsec()))
}

#[test]
fn a_file_that_is_no_lock_file_gives_the_error_of_try_lock() {
    let sandbox = Sandbox::new();
    sandbox.plant("some letter to somebody\n");
    assert!(matches!(sandbox.lockfile().holder(), Err(Error::NotAPidFile { .. })));
    fs::remove_file(sandbox.path()).unwrap();
    fs::create_dir(sandbox.path()).unwrap();
    assert!(matches!(sandbox.lockfile().holder(), Err(Error::NotAFile { .. })));
}

#[test]
fn after_adopt_the_holder_is_the_adopter() {
    let sandbox = Sandbox::new();
    let mut parent = Peer::holding(&sandbox.path());
    parent.must("fork");
    let child = parent.ask("child pid").parse().unwrap();
    assert_holder(&sandbox, parent.pid());
    parent.must("child adopt");
    assert_holder(&sandbox, child);
    parent.must("drop");
    assert_holder(&sandbox, child);
    parent.must("child unlock");
    assert!(sandbox.lockfile().holder().unwrap().is_none());
}

fn owner_with_a_child_that_stays(sandbox: &Sandbox) -> (Peer, Survivor) {
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("fork");
    let child = Survivor(owner.ask("pid_of_child").parse().unwrap());
    owner.must("child stay");
    (owner, child)
}

#[test]
fn the_child_of_a_killed_owner_is_not_taken_for_the_owner() {
    let sandbox = Sandbox::new();
    let (mut owner, _child) = owner_with_a_child_that_stays(&sandbox);
    let pid = owner.pid();
    owner.kill_without_reaping();
    assert_unproven(&sandbox, Some(pid), "it has ended, and a child of it or a reader");
    assert!(owner.end_by_signal().is_some());
    assert_unproven(&sandbox, Some(pid), "it has ended, and a child of it or a reader");
}

#[test]
fn a_reader_is_not_taken_for_the_holder() {
    for (how, because) in
        [("shared", "nobody has the kernel lock"), ("exclusive", "for reading only")]
    {
        // Its own pid is in the file, as it would be in the file of an earlier owner with the same pid.
        let sandbox = Sandbox::new();
        let mut reader = Peer::at(&sandbox.path());
        sandbox.plant(record_of(reader.pid()));
        reader.must(&format!("lock_for_reading {how}"));
        assert_unproven(&sandbox, Some(reader.pid()), because);
    }
    // A file that is known to be a leftover.
    let sandbox = Sandbox::new();
    let mut reader = Peer::at(&sandbox.path());
    sandbox.plant_leftover(reader.pid());
    reader.must("lock_for_reading shared");
    assert!(sandbox.lockfile().holder().unwrap().is_none());
}

/// The worst case of a recycled pid: the killed owner's child keeps the kernel lock, and the process that
/// got the owner's pid has the file open.
#[test]
fn a_process_with_a_killed_owners_pid_that_reads_the_file_is_not_taken_for_the_holder() {
    let sandbox = Sandbox::new();
    let (mut owner, _child) = owner_with_a_child_that_stays(&sandbox);
    owner.kill();
    for mode in [false, true] {
        let mut stranger = Peer::at(&sandbox.path());
        fs::write(sandbox.path(), record_of(stranger.pid())).unwrap();
        stranger.must("lock_for_reading without");
        let _writer = mode.then(|| stranger.must("open_for_writing"));
        assert_unproven(&sandbox, Some(stranger.pid()), "it does not have the kernel lock");
    }
}

#[test]
fn a_reader_beside_the_owner_changes_nothing() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let mut reader = Peer::at(&sandbox.path());
    reader.must("lock_for_reading without");
    assert_holder(&sandbox, owner.pid());
}

#[test]
fn a_script_that_recorded_its_pid_is_named_as_a_hint() {
    let sandbox = Sandbox::new();
    let script = Bystander::new();
    sandbox.plant(record_of(script.pid()));
    assert_unproven(&sandbox, Some(script.pid()), "nobody has the kernel lock");
    let by_kernel_lock = sandbox.lockfile().kernel_lock_only();
    assert!(by_kernel_lock.holder().unwrap().is_none());
}

/// A shell that takes the lock by flock(1) and writes its pid.
fn shell_that_locks(sandbox: &Sandbox, and_then: &str) -> Program {
    let script = format!(r#"exec 9>"$0"; flock -n 9; echo $$ >&9; {and_then}"#);
    Program::start(Command::new("sh").args(["-c", &script]).arg(sandbox.path()))
}

/// `flock FILE COMMAND`, as scripts use it, and a shell that has both the lock and its pid in the file.
#[test]
fn an_owner_by_flock_1_is_described_as_far_as_it_is_known() {
    let sandbox = Sandbox::new();
    let mut flock = Program::start(
        Command::new("flock")
            .arg("-n")
            .arg(sandbox.path())
            .args(["-c", "echo locked; read -r line"]),
    );
    assert_eq!(flock.line(), "locked");
    assert_unproven(&sandbox, None, "no pid is recorded, as when flock(1) holds the lock");
    flock.end();

    let mut shell = shell_that_locks(&sandbox, "echo locked; read -r line");
    assert_eq!(shell.line(), "locked");
    assert_holder(&sandbox, shell.pid());
}

#[test]
fn an_attempt_that_looks_at_the_file_with_its_own_pid_is_not_taken_for_the_holder() {
    let sandbox = Sandbox::new();
    let peer = Peer::at(&sandbox.path());
    let pid = peer.pid();
    sandbox.plant_leftover(pid);
    let mut attempt = require_traced!(Traced::new(peer));
    // It holds the kernel lock of the stale file.
    assert!(attempt.run_to("try_lock", |call| call.number == libc::SYS_pread64));
    assert_unproven(&sandbox, Some(pid), "for reading only");
    let mut peer = attempt.go_on();
    assert_eq!(peer.answer(), "ok");
    assert_holder(&sandbox, pid);
}

#[test]
fn an_owner_whose_thread_has_descriptors_of_its_own_is_found() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::at(&sandbox.path());
    owner.must("lock_in_a_thread");
    assert_holder(&sandbox, owner.pid());
}

#[test]
fn an_owner_whose_first_thread_has_ended_is_found() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("fork");
    owner.must("child adopt");
    let child = owner.ask("pid_of_child").parse().unwrap();
    // From here on the child carries out the commands.
    owner.must("child go_on_in_a_thread");
    assert_holder(&sandbox, child);
}

/// There the kernel's own name for the file must agree, too.
#[test]
fn on_a_file_system_that_is_not_local_the_holder_is_found() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::without(&sandbox.path(), &["tmpfile"]);
    owner.must("try_lock");
    let mut asker = Peer::without(&sandbox.path(), &["statfs"]);
    assert_eq!(asker.ask("holder"), owner.pid().to_string());
    // A second name for the same inode number is no proof there.
    fs::rename(sandbox.path(), sandbox.dir().join("other")).unwrap();
    fs::hard_link(sandbox.dir().join("other"), sandbox.path()).unwrap();
    let answer = asker.ask("holder");
    assert!(answer.starts_with("Unproven {"), "{answer}");
}
