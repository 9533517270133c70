//! What no code of ours can prevent, or does not: the traces are the docs' evidence.

use crate::check::{EXCLUSION, RELEASE, STALE_REMOVAL, TRUE_BUSY};
use crate::setup::{Event, Fork, Mutant, Publish, Rm, Rules};
use crate::{ABSENT, LONG_STALE, but, processes, seeds, with_a_child, with_temporaries};

#[test]
fn a_parent_that_releases_while_its_child_adopts_makes_two_owners() {
    let rules = with_a_child(Fork::AndAdopt, processes(2));
    let trace = but(Mutant::ParentDoesNotWait, rules).assert_breaks(EXCLUSION);
    assert_eq!(trace.len(), 15);
}

#[test]
fn an_rm_between_check_and_unlink_makes_a_release_remove_the_file_of_another() {
    let trace = Rules { rm: Rm::AtAnyTime, ..processes(2) }.assert_breaks(RELEASE);
    assert_eq!(trace.len(), 12);
}

#[test]
fn an_rm_between_check_and_unlink_makes_a_stale_removal_hit_an_owner() {
    let trace = Rules { rm: Rm::AtAnyTime, ..processes(2) }.assert_breaks(STALE_REMOVAL);
    assert_eq!(trace.len(), 11);
}

/// A crash between link and unlink leaves the lock file a second name, and a link count that is not
/// zero once the path has moved on.
#[test]
fn a_leftover_with_two_names_makes_a_probe_say_busy_of_a_lock_that_nobody_has() {
    let rules = with_temporaries(Publish::LinkedTemporary, processes(2));
    assert_eq!(rules.assert_breaks(TRUE_BUSY).len(), 19);
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
fn one_of_ours_and_one_of_the_seeds_own_a_stale_lock_together_without_a_crash() {
    assert_eq!(seeds(1, 1, LONG_STALE).assert_breaks(EXCLUSION).len(), 20);
}
