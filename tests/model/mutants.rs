//! The protocol with one mistake: the checker finds each, by one of the shortest traces.

use crate::check::{
    DATA_STAYS, EXCLUSION, LEFTOVERS, NAMED_LOCKS, RECOVERY, RELEASE, STALE_REMOVAL, TRUE_BUSY,
};
use crate::setup::{Fork, Mutant, Publish, Rm, Rules, Start};
use crate::world::FileSystem;
use crate::{ABSENT, PID_ONLY_OWNER, but, on, processes, with_a_child, with_a_script};

#[test]
fn a_stale_removal_without_the_proof_makes_two_owners() {
    let rules = processes(2);
    let trace = but(Mutant::NoProof, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 22);
}

#[test]
fn the_number_alone_makes_two_owners_where_numbers_are_reused() {
    let rules = on(FileSystem::NumbersUsedAgain, processes(2));
    let trace = but(Mutant::NumberAlone, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 22);
}

#[test]
fn the_kernels_name_alone_makes_two_owners_on_two_clients() {
    let rules = on(FileSystem::TwoClients, processes(2));
    let trace = but(Mutant::KernelsWordAlone, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 22);
}

#[test]
fn a_silly_rename_taken_for_the_name_makes_two_owners() {
    let rules = on(FileSystem::SillyRename, processes(2));
    let trace = but(Mutant::SillyRenameTaken, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 25);
}

#[test]
fn an_exclusive_creation_without_a_check_makes_two_owners() {
    let rules = Rules { publish: Publish::Exclusive, ..processes(2) };
    let trace = but(Mutant::NoCheckAfterCreation, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 23);
}

#[test]
fn a_record_written_before_the_lock_hits_a_candidate() {
    let rules = Rules { publish: Publish::Exclusive, ..processes(2) };
    let trace = but(Mutant::RecordBeforeLock, rules).assert_breaks(STALE_REMOVAL);
    assert_eq!(trace.len(), 7);
}

#[test]
fn a_new_file_that_a_script_has_written_is_not_ours_to_write() {
    let rules = Rules { publish: Publish::Exclusive, ..with_a_script(processes(1)) };
    let trace = but(Mutant::NewFileMayHaveARecord, rules).assert_breaks(STALE_REMOVAL);
    assert_eq!(trace.len(), 10);
}

#[test]
fn a_named_temporary_makes_two_owners_where_names_are_inodes() {
    let rules =
        Rules { kernel_lock_only: true, file_system: FileSystem::NumbersUsedAgain, ..processes(2) };
    let trace = but(Mutant::NamedTemporary, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 17);
}

#[test]
fn unlocking_the_stale_file_before_the_unlink_makes_two_owners() {
    let rules = processes(2);
    let trace = but(Mutant::UnlockBeforeUnlink, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 28);
}

#[test]
fn a_name_given_before_the_kernel_lock_makes_two_owners_among_threads() {
    let rules = Rules { threads: 2, ..processes(1) };
    let trace = but(Mutant::NameBeforeLock, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 18);
}

#[test]
fn a_childs_drop_that_unlinks_makes_two_owners() {
    let rules = with_a_child(Fork::AndDrop, Rules { starts: ABSENT, ..processes(2) });
    let trace = but(Mutant::ChildDropUnlinks, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 12);
}

#[test]
fn a_parents_release_that_does_not_read_the_record_robs_the_child_that_adopted() {
    let rules = with_a_child(Fork::AndAdopt, Rules { starts: ABSENT, ..processes(2) });
    let trace = but(Mutant::NoRecordCheck, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 17);
}

#[test]
fn zombies_that_count_as_alive_leave_the_lock_stuck() {
    let rules =
        Rules { starts: ABSENT, zombies: true, ..on(FileSystem::NumbersUsedAgain, processes(1)) };
    let trace = but(Mutant::ZombiesAreAlive, rules).assert_breaks(RECOVERY);
    assert_eq!(trace.len(), 6);
}

#[test]
fn ones_own_pid_honoured_in_a_leftover_leaves_the_lock_stuck() {
    let rules = Rules { starts: ABSENT, ..on(FileSystem::NumbersUsedAgain, processes(1)) };
    let trace = but(Mutant::OwnPidHonoured, rules).assert_breaks(RECOVERY);
    assert_eq!(trace.len(), 6);
}

#[test]
fn a_refused_kernel_lock_without_the_link_count_reports_a_false_busy() {
    let rules = processes(2);
    let trace = but(Mutant::RefusedMeansBusy, rules).assert_breaks(TRUE_BUSY);
    assert_eq!(trace.len(), 10);
}

#[test]
fn a_probe_that_closes_without_unlocking_leaves_its_lock_with_a_forked_child() {
    let rules = Rules { starts: PID_ONLY_OWNER, ..with_a_child(Fork::AndDrop, processes(2)) };
    let trace = but(Mutant::CloseWithoutUnlock, rules).assert_breaks(NAMED_LOCKS);
    assert_eq!(trace.len(), 9);
}

#[test]
fn a_release_that_unlocks_before_the_unlink_removes_the_file_of_another() {
    let rules = Rules { threads: 2, ..processes(1) };
    let trace = but(Mutant::ReleaseUnlocksFirst, rules).assert_breaks(RELEASE);
    assert_eq!(trace.len(), 20);
}

#[test]
fn a_release_that_does_not_look_at_the_path_removes_the_file_of_another() {
    let rules = Rules { rm: Rm::NotBetweenCheckAndUnlink, ..processes(2) };
    let trace = but(Mutant::NoReleaseCheck, rules).assert_breaks(RELEASE);
    assert_eq!(trace.len(), 11);
}

#[test]
fn a_release_by_number_alone_removes_another_file_where_numbers_are_reused() {
    let rules = Rules {
        rm: Rm::NotBetweenCheckAndUnlink,
        ..on(FileSystem::NumbersUsedAgain, processes(2))
    };
    let trace = but(Mutant::OwnByNumberAlone, rules).assert_breaks(RELEASE);
    assert_eq!(trace.len(), 15);
}

#[test]
fn a_release_that_asks_a_clients_cache_removes_the_file_of_another() {
    let rules = Rules {
        rm: Rm::NotBetweenCheckAndUnlink,
        starts: ABSENT,
        ..on(FileSystem::TwoClients, processes(2))
    };
    let trace = but(Mutant::OwnByNumberAlone, rules).assert_breaks(RELEASE);
    assert_eq!(trace.len(), 16);
}

#[test]
fn a_stamp_that_adopt_does_not_renew_leaves_a_leftover_busy() {
    let rules = with_a_child(Fork::AndAdopt, Rules { strangers: true, ..processes(1) });
    let trace = but(Mutant::AdoptKeepsNoStamp, rules).assert_breaks(LEFTOVERS);
    assert_eq!(trace.len(), 20);
}

#[test]
fn a_stamp_that_is_not_bound_to_the_pid_robs_a_script() {
    let rules = Rules { publish: Publish::Exclusive, ..with_a_script(processes(1)) };
    let trace = but(Mutant::StampForAnyPid, rules).assert_breaks(STALE_REMOVAL);
    assert_eq!(trace.len(), 23);
}

#[test]
fn a_stamp_believed_on_a_mount_that_is_not_local_makes_two_owners() {
    let rules = Rules {
        starts: ABSENT,
        crashes: false,
        file_system: FileSystem::SecondMount,
        ..processes(2)
    };
    let trace = but(Mutant::StampBelievedAnywhere, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 20);
}

#[test]
fn a_stamp_given_on_a_mount_that_is_not_local_makes_two_owners() {
    let rules = Rules {
        starts: ABSENT,
        crashes: false,
        file_system: FileSystem::SecondMount,
        ..processes(2)
    };
    let trace = but(Mutant::StampGivenAnywhere, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 19);
}

#[test]
fn a_takeover_in_place_without_the_link_count_writes_somebodys_data() {
    let rules = Rules { sticky: true, starts: &[Start::Planted], ..processes(1) };
    let trace = but(Mutant::TakeoverIgnoresLinks, rules).assert_breaks(DATA_STAYS);
    assert_eq!(trace.len(), 20);
}

#[test]
fn a_takeover_in_place_without_the_kernel_lock_makes_two_owners() {
    let rules = Rules { sticky: true, ..processes(2) };
    let trace = but(Mutant::TakeoverWithoutLock, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 33);
}

#[test]
fn content_that_cant_be_a_lock_file_is_somebodys_data() {
    let rules = Rules { starts: &[Start::Data], ..processes(1) };
    let trace = but(Mutant::DataRemoved, rules).assert_breaks(DATA_STAYS);
    assert_eq!(trace.len(), 9);
}
