//! The protocol as it is: the checker visits every state, and none is bad.

use crate::setup::{Fork, Publish, Rm, Rules, Start};
use crate::world::FileSystem;
use crate::{
    ABSENT, PID_ONLY_OWNER, on, processes, with_a_child, with_a_script, with_zombies_and_strangers,
};

#[test]
fn two_processes_that_crash_anywhere_never_own_it_together() {
    let rules = processes(2);
    assert_eq!(rules.assert_clean(), 2131);
}

#[test]
fn three_processes_that_crash_anywhere_never_own_it_together() {
    let rules = processes(3);
    assert_eq!(rules.assert_clean(), 278_475);
}

#[test]
fn two_processes_that_publish_the_exclusive_way_never_own_it_together() {
    let rules = Rules { publish: Publish::Exclusive, ..processes(2) };
    assert_eq!(rules.assert_clean(), 9846);
}

#[test]
fn zombies_and_strangers_with_a_recorded_pid_mislead_nobody() {
    let rules = with_zombies_and_strangers(processes(2));
    assert_eq!(rules.assert_clean(), 37_548);
}

#[test]
fn a_pid_only_owner_keeps_the_lock_while_it_lives() {
    let rules = Rules { starts: PID_ONLY_OWNER, ..with_zombies_and_strangers(processes(2)) };
    assert_eq!(rules.assert_clean(), 35_758);
}

#[test]
fn the_kernel_lock_alone_is_enough_among_ours_and_no_recycled_pid_blocks_it() {
    let rules = Rules { kernel_lock_only: true, strangers: true, ..processes(2) };
    assert_eq!(rules.assert_clean(), 2418);
}

#[test]
fn three_threads_of_one_process_never_own_it_together() {
    let rules = Rules { threads: 3, ..processes(1) };
    assert_eq!(rules.assert_clean(), 5906);
}

#[test]
fn a_forked_child_takes_no_lock_along_from_a_guard_or_a_probe() {
    let rules = with_a_child(Fork::AndDrop, Rules { starts: ABSENT, ..processes(1) });
    assert_eq!(rules.assert_clean(), 12_003);
}

#[test]
fn a_child_that_adopts_takes_over_and_a_stranger_with_its_pid_blocks_nobody() {
    let rules = with_a_child(Fork::AndAdopt, Rules { strangers: true, ..processes(1) });
    assert_eq!(rules.assert_clean(), 1358);
}

#[test]
fn an_outsiders_rm_makes_no_release_remove_the_file_of_another() {
    let rules = Rules { rm: Rm::NotBetweenCheckAndUnlink, ..processes(2) };
    assert_eq!(rules.assert_clean(), 5147);
}

#[test]
fn reused_inode_numbers_mislead_nobody() {
    let rules = on(FileSystem::NumbersUsedAgain, processes(2));
    assert_eq!(rules.assert_clean(), 9644);
}

#[test]
fn reused_inode_numbers_mislead_no_release_after_an_rm() {
    let rules = Rules {
        rm: Rm::NotBetweenCheckAndUnlink,
        ..on(FileSystem::NumbersUsedAgain, processes(2))
    };
    assert_eq!(rules.assert_clean(), 13_624);
}

#[test]
fn removed_files_that_are_renamed_mislead_nobody() {
    let rules = on(FileSystem::SillyRename, processes(2));
    assert_eq!(rules.assert_clean(), 9644);
}

#[test]
fn two_clients_of_an_nfs_never_own_it_together() {
    let rules = on(FileSystem::TwoClients, processes(2));
    assert_eq!(rules.assert_clean(), 44_494);
}

#[test]
fn a_record_protects_where_two_mounts_share_no_kernel_lock() {
    let rules = Rules {
        starts: ABSENT,
        crashes: false,
        file_system: FileSystem::SecondMount,
        ..processes(2)
    };
    assert_eq!(rules.assert_clean(), 1009);
}

#[test]
fn two_users_take_over_in_place_in_a_sticky_directory() {
    let rules = Rules { sticky: true, strangers: true, ..processes(2) };
    assert_eq!(rules.assert_clean(), 7342);
}

#[test]
fn two_users_publish_the_exclusive_way_in_a_sticky_directory() {
    let rules = Rules { sticky: true, publish: Publish::Exclusive, ..processes(2) };
    assert_eq!(rules.assert_clean(), 17_657);
}

#[test]
fn a_planted_second_name_is_not_written() {
    let rules = Rules { sticky: true, starts: &[Start::Planted, Start::Absent], ..processes(1) };
    assert_eq!(rules.assert_clean(), 36);
}

#[test]
fn somebodys_data_stays() {
    let rules = Rules { starts: &[Start::Data, Start::Absent], ..processes(2) };
    assert_eq!(rules.assert_clean(), 1342);
}

#[test]
fn somebodys_data_stays_where_the_kernel_lock_alone_decides() {
    let rules =
        Rules { starts: &[Start::Data, Start::Absent], kernel_lock_only: true, ..processes(2) };
    assert_eq!(rules.assert_clean(), 1310);
}

#[test]
fn a_script_that_writes_into_a_leftover_is_honoured() {
    let rules = with_a_script(processes(1));
    assert_eq!(rules.assert_clean(), 1008);
}

#[test]
fn a_script_that_does_not_truncate_is_honoured() {
    let rules = Rules { scripts_truncate: false, strangers: true, ..with_a_script(processes(1)) };
    assert_eq!(rules.assert_clean(), 1382);
}

#[test]
fn a_script_is_honoured_beside_the_exclusive_way() {
    let rules = Rules { publish: Publish::Exclusive, ..with_a_script(processes(1)) };
    assert_eq!(rules.assert_clean(), 2404);
}

#[test]
fn a_script_is_honoured_in_a_sticky_directory() {
    let rules = Rules { sticky: true, strangers: true, ..with_a_script(processes(1)) };
    assert_eq!(rules.assert_clean(), 4072);
}

#[test]
fn a_script_is_honoured_on_a_file_system_without_stamps() {
    let rules = on(FileSystem::NumbersUsedAgain, with_a_script(processes(1)));
    assert_eq!(rules.assert_clean(), 948);
}

// The larger runs; not all of them take only seconds in a release build: `cargo test --release --test model --
// --ignored --test-threads 1`.

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn two_clients_and_an_rm_remove_no_file_of_another() {
    let rules =
        Rules { rm: Rm::NotBetweenCheckAndUnlink, ..on(FileSystem::TwoClients, processes(2)) };
    assert_eq!(rules.assert_clean(), 99_290);
}

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn two_processes_and_a_script_never_own_it_together() {
    let rules = with_a_script(processes(2));
    assert_eq!(rules.assert_clean(), 261_152);
}

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn two_processes_and_a_child_that_adopts_never_own_it_together() {
    let rules = with_a_child(Fork::AndAdopt, Rules { starts: ABSENT, ..processes(2) });
    assert_eq!(rules.assert_clean(), 306_713);
}

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn a_script_beside_a_child_that_adopts_is_honoured() {
    let rules = with_a_child(Fork::AndAdopt, with_a_script(processes(1)));
    assert_eq!(rules.assert_clean(), 333_638);
}

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn a_forked_child_takes_no_lock_along_the_exclusive_way() {
    let rules = with_a_child(
        Fork::AndDrop,
        Rules { publish: Publish::Exclusive, starts: ABSENT, ..processes(1) },
    );
    assert_eq!(rules.assert_clean(), 154_964);
}

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn two_users_with_zombies_and_strangers_take_over_in_place() {
    let rules = Rules { sticky: true, ..with_zombies_and_strangers(processes(2)) };
    assert_eq!(rules.assert_clean(), 115_353);
}

#[test]
#[ignore = "a larger run: seconds in release, a minute in debug"]
fn the_exclusive_way_with_zombies_and_strangers_misleads_nobody() {
    let rules = Rules { publish: Publish::Exclusive, ..with_zombies_and_strangers(processes(2)) };
    assert_eq!(rules.assert_clean(), 202_545);
}
