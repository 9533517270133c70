//! Our own leftovers never block, whichever process has their pid now; a file that another program wrote does.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use pidlockfile::{Error, Lockfile};

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{
    Bystander, OTHER_USER, Sandbox, is_root, record_of, require, stamp_nanoseconds,
};

mod lost;

fn assert_taken_at_once(sandbox: &Sandbox) {
    sandbox.assert_free_and_clean();
}

fn assert_honoured(sandbox: &Sandbox, owner: u32) {
    let record = fs::read(sandbox.path()).unwrap();
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid, kernel_locked: false, .. }) => assert_eq!(pid, Some(owner)),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(sandbox.path()).unwrap(), record);
}

/// A copy of an owner's file, with or without its times: it has no kernel lock, and names a live process.
fn copy_of_a_live_owners_file(sandbox: &Sandbox, refused: &[&str], preserve: bool) -> Peer {
    let original = sandbox.dir().join("original.pid");
    let mut owner = Peer::without(&original, refused);
    owner.must("try_lock");
    let mut cp = Command::new("cp");
    if preserve {
        cp.arg("-p");
    }
    assert!(cp.arg(&original).arg(sandbox.path()).status().unwrap().success());
    owner.must("unlock");
    owner
}

#[test]
fn a_leftover_is_taken_at_once_although_its_pid_is_a_live_process() {
    require_able!(Stamps);
    for refused in [&[][..], &["link_by_empty_path"], &["tmpfile"]] {
        let sandbox = Sandbox::new();
        let _owner = copy_of_a_live_owners_file(&sandbox, refused, true);
        assert_taken_at_once(&sandbox);
    }
}

#[test]
fn a_copy_that_has_lost_its_times_counts_as_any_programs_file() {
    let sandbox = Sandbox::new();
    let owner = copy_of_a_live_owners_file(&sandbox, &[], false);
    assert_honoured(&sandbox, owner.pid());
}

#[test]
fn the_stamp_leaves_the_record_unchanged() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let _guard = sandbox.lock();
    assert_eq!(sandbox.record(), record_of(std::process::id()));
    let modified = fs::metadata(sandbox.path()).unwrap().modified().unwrap();
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(since_epoch.subsec_nanos(), stamp_nanoseconds(std::process::id()));
    // The seconds are right: within a minute of a new file's.
    fs::write(sandbox.dir().join("new"), "").unwrap();
    let new = fs::metadata(sandbox.dir().join("new")).unwrap().modified().unwrap();
    let distance = new.duration_since(modified).unwrap_or_else(|error| error.duration());
    assert!(distance < Duration::from_secs(60), "{distance:?}");
}

#[test]
fn a_leftover_is_taken_from_pid_1_and_from_a_kernel_thread() {
    require_able!(Stamps);
    // kthreadd, where it is visible.
    for pid in [1, 2] {
        let sandbox = Sandbox::new();
        sandbox.plant_leftover(pid);
        assert_taken_at_once(&sandbox);
    }
}

#[test]
fn a_leftover_is_taken_from_a_process_of_another_user() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let mut stranger = Peer::at(&sandbox.path());
    stranger.must(&format!("become {OTHER_USER}"));
    sandbox.plant_leftover(stranger.pid());
    assert_taken_at_once(&sandbox);
}

#[test]
fn a_leftover_is_taken_from_a_thread() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let mut stranger = Peer::at(&sandbox.path());
    let thread = stranger.ask("park_a_thread").parse().unwrap();
    sandbox.plant_leftover(thread);
    assert_taken_at_once(&sandbox);
}

/// As in a restarted container, where the new process with the pid is as old as the namespace.
#[test]
fn a_leftover_is_taken_in_a_pid_namespace_whose_next_process_has_its_pid() {
    require!(is_root(), "needs root, to make a pid namespace");
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let mut inside = Peer::at(&sandbox.path());
    inside.must("enter_pid_namespace");
    inside.must("child fork_with_pid 77");
    inside.must("child child try_lock");
    inside.must("child end_child");
    assert_eq!(sandbox.record(), record_of(77));
    inside.must("child fork_with_pid 77");
    assert_eq!(inside.ask("child child pid"), "77");
    inside.must("child try_lock");
    inside.must("child unlock");
    sandbox.assert_free_and_clean();
}

#[test]
fn a_leftover_of_another_pid_namespace_is_taken() {
    require!(is_root(), "needs root, to make a pid namespace");
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    let mut inside = Peer::at(&sandbox.path());
    inside.must("enter_pid_namespace");
    // Outside, that pid is the bystander's.
    inside.must(&format!("child fork_with_pid {}", bystander.pid()));
    inside.must("child child try_lock");
    inside.must("child end_child");
    assert_eq!(sandbox.record(), record_of(bystander.pid()));
    assert_taken_at_once(&sandbox);
}

#[test]
fn a_leftover_of_an_adopter_is_taken_at_once() {
    require_able!(Stamps);
    let sandbox = Sandbox::new();
    let original = sandbox.dir().join("original.pid");
    let mut parent = Peer::holding(&original);
    parent.must("fork");
    parent.must("child adopt");
    let child: u32 = parent.ask("child pid").parse().unwrap();
    let cp = Command::new("cp").arg("-p").arg(&original).arg(sandbox.path()).status();
    assert!(cp.unwrap().success());
    assert_eq!(sandbox.record(), record_of(child));
    sandbox.lock().unlock().unwrap();
    parent.must("child unlock");
}

/// What a program that knows only pid files does to a leftover.
type Writes = fn(&Path, &str);

const WRITES: &[Writes] = &[
    // echo $$ > FILE
    |path, record| fs::write(path, record).unwrap(),
    // The same without O_TRUNC: the end of the longer old record stays, on its own line.
    |path, record| {
        File::options().write(true).open(path).unwrap().write_all_at(record.as_bytes(), 0).unwrap();
    },
    // In two calls.
    |path, record| {
        let file = File::options().write(true).truncate(true).open(path).unwrap();
        file.write_all_at(&record.as_bytes()[..1], 0).unwrap();
        file.write_all_at(&record.as_bytes()[1..], 1).unwrap();
    },
    // And sets its time later, to the microsecond.
    |path, record| {
        fs::write(path, record).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    },
];

#[test]
fn a_program_that_writes_its_pid_into_a_leftover_is_honoured_while_it_lives() {
    for write in WRITES {
        let sandbox = Sandbox::new();
        let script = Bystander::new();
        let mut dead = Peer::holding(&sandbox.path());
        dead.kill();
        write(&sandbox.path(), &record_of(script.pid()));
        assert_honoured(&sandbox, script.pid());
        drop(script);
        sandbox.assert_free_and_clean();
    }
}

/// The hardest case: it writes the bytes that were there before.
#[test]
fn a_program_that_has_the_pid_of_a_leftover_and_writes_it_again_is_honoured() {
    for write in WRITES {
        let sandbox = Sandbox::new();
        let script = Bystander::new();
        sandbox.plant_leftover(script.pid());
        write(&sandbox.path(), &record_of(script.pid()));
        assert_honoured(&sandbox, script.pid());
    }
}

/// The other program wrote between our record and our stamp.
#[test]
fn the_stamp_of_one_pid_does_not_mark_the_record_of_another() {
    let sandbox = Sandbox::new();
    let script = Bystander::new();
    sandbox.plant_leftover(script.pid() + 1);
    let file = File::open(sandbox.path()).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    fs::write(sandbox.path(), record_of(script.pid())).unwrap();
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    assert_honoured(&sandbox, script.pid());
}

#[test]
fn no_two_pids_share_a_stamp_and_none_is_a_whole_number_of_microseconds() {
    const PID_MAX: usize = 1 << 22;
    let mut seen = vec![false; 10_000_000];
    for pid in 1..=PID_MAX {
        let stamp = stamp_nanoseconds(u32::try_from(pid).unwrap());
        assert!(stamp < 1_000_000_000 && stamp.is_multiple_of(100) && !stamp.is_multiple_of(1000));
        assert!(!std::mem::replace(&mut seen[stamp as usize / 100], true), "{pid}");
    }
}

/// Where a mount can have its own kernel lock (NFS, FUSE, …), only the pid protects.
#[test]
fn on_a_file_system_that_is_not_local_no_stamp_is_believed() {
    let sandbox = Sandbox::new();
    let owner = copy_of_a_live_owners_file(&sandbox, &[], true);
    let mut peer = Peer::without(&sandbox.path(), &["statfs"]);
    let answer = peer.ask("try_lock");
    assert!(answer.starts_with("Busy {") && answer.contains("kernel_locked: false"), "{answer}");
    assert!(answer.contains(&owner.pid().to_string()), "{answer}");
}

#[test]
fn on_a_file_system_that_is_not_local_no_stamp_is_given() {
    let sandbox = Sandbox::new();
    let owner = copy_of_a_live_owners_file(&sandbox, &["tmpfile", "statfs"], true);
    assert_honoured(&sandbox, owner.pid());
}

#[test]
fn our_leftovers_need_no_kernel_lock_only_and_others_still_do() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    assert_honoured(&sandbox, bystander.pid());
    let by_kernel_lock = Lockfile::new(sandbox.path()).unwrap().kernel_lock_only();
    by_kernel_lock.try_lock().unwrap().unlock().unwrap();
}
