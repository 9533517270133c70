//! The protocol with one slip: each is found, by one of the shortest traces there are.

use crate::check::{EXCLUSION, NAMED_LOCKS, RECOVERY, RELEASE, STALE_REMOVAL, TRUE_BUSY};
use crate::setup::{Fork, Mutant, Publish, Rm, Rules};
use crate::{ABSENT, PID_ONLY_OWNER, but, processes, with_a_child, with_temporaries};

#[test]
fn a_stale_removal_without_the_path_check_makes_two_owners() {
    let trace = but(Mutant::NoPathCheck, processes(2)).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 20);
}

#[test]
fn unlocking_the_stale_file_before_the_unlink_makes_two_owners() {
    let trace = but(Mutant::UnlockBeforeUnlink, processes(2)).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 22);
}

#[test]
fn a_name_given_before_the_kernel_lock_makes_two_owners_among_threads() {
    let rules = Rules { threads: 2, ..processes(1) };
    let trace = but(Mutant::NameBeforeLock, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 15);
}

#[test]
fn a_rename_that_replaces_makes_two_owners() {
    let rules = with_temporaries(Publish::RenamedTemporary, processes(2));
    let trace = but(Mutant::RenameClobbers, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 16);
}

#[test]
fn a_childs_drop_that_unlinks_makes_two_owners() {
    let rules = with_a_child(Fork::AndDrop, processes(2));
    let trace = but(Mutant::ChildDropUnlinks, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 12);
}

#[test]
fn a_parents_release_that_does_not_read_the_record_robs_the_child_that_adopted() {
    let rules = with_a_child(Fork::AndAdopt, processes(2));
    let trace = but(Mutant::NoRecordCheck, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 15);
}

#[test]
fn zombies_that_count_as_alive_leave_the_lock_stuck() {
    let rules = Rules { starts: ABSENT, zombies: true, ..processes(1) };
    let trace = but(Mutant::ZombiesAreAlive, rules).assert_breaks(RECOVERY);
    assert_eq!(trace.len(), 4);
}

#[test]
fn the_own_pid_honoured_in_a_leftover_leaves_the_lock_stuck() {
    let rules = Rules { starts: ABSENT, ..processes(1) };
    let trace = but(Mutant::OwnPidHonoured, rules).assert_breaks(RECOVERY);
    assert_eq!(trace.len(), 4);
}

#[test]
fn temporaries_that_nobody_sweeps_stay_for_ever() {
    let rules = with_temporaries(Publish::RenamedTemporary, processes(1));
    let trace = but(Mutant::NoSweep, rules).assert_breaks(RECOVERY);
    assert_eq!(trace.len(), 4);
}

#[test]
fn a_sweep_that_asks_for_no_kernel_lock_removes_a_live_candidate() {
    let rules = with_temporaries(Publish::RenamedTemporary, processes(2));
    let trace = but(Mutant::SweepWithoutLock, rules).assert_breaks(STALE_REMOVAL);
    assert_eq!(trace.len(), 9);
}

#[test]
fn a_refused_kernel_lock_without_the_link_count_says_busy_of_a_lock_that_nobody_has() {
    let trace = but(Mutant::RefusedMeansBusy, processes(2)).assert_breaks(TRUE_BUSY);
    assert_eq!(trace.len(), 9);
}

#[test]
fn a_probe_that_closes_without_unlocking_leaves_its_lock_with_a_forked_child() {
    let rules = Rules { starts: PID_ONLY_OWNER, ..with_a_child(Fork::AndDrop, processes(2)) };
    let trace = but(Mutant::CloseWithoutUnlock, rules).assert_breaks(NAMED_LOCKS);
    assert_eq!(trace.len(), 8);
}

#[test]
fn a_release_that_unlocks_before_the_unlink_removes_the_file_of_another() {
    let rules = Rules { threads: 2, ..processes(1) };
    let trace = but(Mutant::ReleaseUnlocksFirst, rules).assert_breaks(RELEASE);
    assert_eq!(trace.len(), 16);
}

#[test]
fn a_release_that_does_not_look_at_the_path_removes_the_file_of_another() {
    let rules = Rules { rm: Rm::NotBetweenCheckAndUnlink, ..processes(2) };
    let trace = but(Mutant::NoReleaseCheck, rules).assert_breaks(RELEASE);
    assert_eq!(trace.len(), 12);
}
