//! What our code cannot prevent, or does not: the traces are the evidence for the docs.

use crate::check::{EXCLUSION, RELEASE, STALE_REMOVAL, TRUE_BUSY};
use crate::rules::Event;
use crate::setup::{Fork, Mutant, Publish, Rm, Rules, Start};
use crate::world::FileSystem;
use crate::{ABSENT, LONG_STALE, but, on, processes, seeds, with_a_child};

#[test]
fn a_parent_that_releases_while_its_child_adopts_makes_two_owners() {
    let rules = but(
        Mutant::ParentDoesNotWait,
        with_a_child(Fork::AndAdopt, Rules { starts: ABSENT, ..processes(2) }),
    );
    assert_eq!(rules.assert_breaks(EXCLUSION).len(), 17);
}

#[test]
fn an_rm_between_check_and_unlink_makes_a_release_remove_the_file_of_another() {
    let rules = Rules { rm: Rm::AtAnyTime, ..processes(2) };
    assert_eq!(rules.assert_breaks(RELEASE).len(), 12);
}

#[test]
fn an_rm_between_check_and_unlink_makes_a_stale_removal_hit_an_owner() {
    let rules = Rules { rm: Rm::AtAnyTime, ..processes(2) };
    assert_eq!(rules.assert_breaks(STALE_REMOVAL).len(), 14);
}

/// The link count of such a removed file is not zero.
#[test]
fn a_second_name_makes_an_attempt_report_a_false_busy() {
    let rules = Rules { starts: &[Start::Planted], ..processes(2) };
    assert_eq!(rules.assert_breaks(TRUE_BUSY).len(), 14);
}

#[test]
fn a_removed_file_that_keeps_its_link_count_makes_an_attempt_report_a_false_busy() {
    let rules = on(FileSystem::NumbersUsedAgain, processes(2));
    assert_eq!(rules.assert_breaks(TRUE_BUSY).len(), 13);
}

#[test]
fn an_nfs_server_whose_clock_has_not_advanced_makes_two_owners() {
    let rules = on(FileSystem::CoarseClock, processes(2));
    assert_eq!(rules.assert_breaks(EXCLUSION).len(), 28);
}

#[test]
fn two_mounts_that_share_no_kernel_lock_make_two_owners_of_a_stale_file() {
    let rules = Rules {
        starts: LONG_STALE,
        crashes: false,
        file_system: FileSystem::SecondMount,
        ..processes(2)
    };
    assert_eq!(rules.assert_breaks(EXCLUSION).len(), 29);
}

/// Through FUSE a file is created exclusively: a process that looks at it while it is empty takes it for stale.
#[test]
fn two_mounts_that_share_no_kernel_lock_make_two_owners_of_a_file_without_a_record() {
    let rules = Rules {
        starts: ABSENT,
        crashes: false,
        publish: Publish::Exclusive,
        file_system: FileSystem::SecondMount,
        ..processes(2)
    };
    assert_eq!(rules.assert_breaks(EXCLUSION).len(), 27);
}

#[test]
fn the_seeds_two_processes_own_a_stale_lock_together_without_a_crash() {
    let trace = seeds(0, 2, LONG_STALE).assert_breaks(EXCLUSION);
    assert!(!trace.iter().any(|event| matches!(event, Event::Kill(_))));
    assert_eq!(trace.len(), 18);
}

#[test]
fn the_seeds_three_processes_own_a_lock_together_from_no_file_without_a_crash() {
    let rules = Rules { pids: 3, ..seeds(0, 3, ABSENT) };
    assert_eq!(rules.assert_breaks(EXCLUSION).len(), 20);
}

#[test]
fn our_process_and_a_seeds_process_own_a_stale_lock_together_without_a_crash() {
    let rules = seeds(1, 1, LONG_STALE);
    assert_eq!(rules.assert_breaks(EXCLUSION).len(), 23);
}
