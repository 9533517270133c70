//! The protocol as it is: every state is visited, and none is bad.

use crate::setup::{Fork, Publish, Rm, Rules};
use crate::{
    ABSENT, JUNK, PID_ONLY_OWNER, STALE, processes, with_a_child, with_temporaries,
    with_zombies_and_strangers,
};

#[test]
fn two_processes_from_no_file_never_own_it_together() {
    assert_eq!(Rules { starts: ABSENT, ..processes(2) }.assert_clean(), 1209);
}

#[test]
fn two_processes_from_a_stale_file_never_own_it_together() {
    assert_eq!(Rules { starts: STALE, ..processes(2) }.assert_clean(), 1209);
}

#[test]
fn two_processes_from_a_junk_file_never_own_it_together() {
    assert_eq!(Rules { starts: JUNK, ..processes(2) }.assert_clean(), 1594);
}

#[test]
fn three_processes_that_crash_anywhere_never_own_it_together() {
    assert_eq!(processes(3).assert_clean(), 277_346);
}

#[test]
fn zombies_and_strangers_with_a_recorded_pid_mislead_nobody() {
    assert_eq!(with_zombies_and_strangers(processes(2)).assert_clean(), 32_409);
}

#[test]
fn a_pid_only_owner_keeps_the_lock_while_it_lives() {
    let rules = with_zombies_and_strangers(processes(2));
    assert_eq!(Rules { starts: PID_ONLY_OWNER, ..rules }.assert_clean(), 27_043);
}

#[test]
fn the_kernel_lock_only_is_enough_among_ours_and_no_recycled_pid_is_in_its_way() {
    let rules = with_zombies_and_strangers(processes(2));
    assert_eq!(Rules { kernel_lock_only: true, ..rules }.assert_clean(), 17_829);
}

#[test]
fn three_threads_of_one_process_never_own_it_together() {
    assert_eq!(Rules { threads: 3, ..processes(1) }.assert_clean(), 4616);
}

#[test]
fn a_forked_child_takes_no_lock_along_from_a_guard_or_a_probe() {
    assert_eq!(with_a_child(Fork::AndDrop, processes(1)).assert_clean(), 11_832);
}

#[test]
fn a_child_that_adopts_takes_over_without_a_gap() {
    let rules = Rules { crashes: false, ..processes(2) };
    assert_eq!(with_a_child(Fork::AndAdopt, rules).assert_clean(), 86_836);
}

#[test]
fn an_outsiders_rm_makes_no_release_remove_the_file_of_another() {
    let rm = Rm::NotBetweenCheckAndUnlink;
    assert_eq!(Rules { rm, ..processes(2) }.assert_clean(), 2150);
}

#[test]
fn temporaries_that_are_renamed_keep_exclusion_and_are_swept() {
    assert_eq!(with_temporaries(Publish::RenamedTemporary, processes(2)).assert_clean(), 30_396);
}

#[test]
fn temporaries_that_are_linked_keep_exclusion_and_are_swept() {
    let rules = with_temporaries(Publish::LinkedTemporary, processes(2));
    assert_eq!(Rules { temporaries: 2, ..rules }.assert_clean(), 51_677);
}

// The large ones, half of them seconds in release, the largest 1.7 GB and two minutes on two cores:
// `cargo test --release --test model -- --ignored --test-threads 1`.

#[test]
#[ignore = "minutes"]
fn two_processes_of_two_threads_never_own_it_together() {
    assert_eq!(Rules { threads: 2, ..processes(2) }.assert_clean(), 640_532);
}

#[test]
#[ignore = "minutes"]
fn three_processes_with_zombies_and_strangers_never_own_it_together() {
    let rules = Rules { zombies: true, strangers: true, ..processes(3) };
    assert_eq!(rules.assert_clean(), 386_448);
}

#[test]
#[ignore = "minutes"]
fn three_processes_with_zombies_strangers_and_a_fourth_pid_never_own_it_together() {
    assert_eq!(with_zombies_and_strangers(processes(3)).assert_clean(), 9_383_706);
}

#[test]
#[ignore = "minutes"]
fn two_processes_and_a_forked_child_never_own_it_together() {
    assert_eq!(with_a_child(Fork::AndDrop, processes(2)).assert_clean(), 3_972_770);
}

#[test]
#[ignore = "minutes"]
fn two_threads_and_a_forked_child_never_own_it_together() {
    let threads = Rules { threads: 2, ..processes(1) };
    assert_eq!(with_a_child(Fork::AndDrop, threads).assert_clean(), 1_459_740);
}

#[test]
#[ignore = "minutes"]
fn a_child_that_adopts_amid_crashes_takes_over_without_a_gap() {
    assert_eq!(with_a_child(Fork::AndAdopt, processes(2)).assert_clean(), 260_894);
}

#[test]
#[ignore = "minutes"]
fn three_processes_and_an_outsiders_rm_remove_no_file_of_another() {
    let rm = Rm::NotBetweenCheckAndUnlink;
    assert_eq!(Rules { rm, ..processes(3) }.assert_clean(), 382_340);
}

#[test]
#[ignore = "minutes"]
fn temporaries_and_a_forked_child_keep_exclusion() {
    let rules = with_a_child(Fork::AndDrop, processes(1));
    assert_eq!(with_temporaries(Publish::RenamedTemporary, rules).assert_clean(), 535_025);
}

#[test]
#[ignore = "minutes"]
fn temporaries_that_are_linked_under_three_names_keep_exclusion() {
    assert_eq!(with_temporaries(Publish::LinkedTemporary, processes(2)).assert_clean(), 103_747);
}

#[test]
#[ignore = "minutes"]
fn temporaries_of_three_processes_keep_exclusion() {
    let rules = Rules { crashes: false, ..processes(3) };
    assert_eq!(with_temporaries(Publish::RenamedTemporary, rules).assert_clean(), 1_280_463);
}

#[test]
#[ignore = "minutes"]
fn temporaries_of_three_processes_that_crash_anywhere_keep_exclusion() {
    assert_eq!(
        with_temporaries(Publish::RenamedTemporary, processes(3)).assert_clean(),
        23_137_404
    );
}
