//! A model of the lock, every interleaving of which is tried.
//!
//! # How to read this
//!
//! `world.rs` is the machine: a call on it is one system call and one atomic step. `ours.rs` is the
//! protocol, a function a call, under the step numbers of `Lockfile::try_lock` (`step.rs` has their
//! names): whoever changes one changes the other. `seed.rs` is the Go package's algorithm. `check.rs`
//! says what may happen between any two steps (kill, fork, a recycled pid, …) and what must hold.
//! Here are the runs: which of them are clean, with the number of states, and what breaks when one step
//! is done wrong. `cargo test --test model -- --nocapture` prints the traces.
//!
//! Bounds: the pids named in `Rules`, and 16 looks are as many as you like. Not modelled: errors of
//! system calls, and the reply that NFS loses.

mod world;
mod step;
mod ours;
mod seed;
mod check;

use check::{
    EXCLUSION, Event, Fork, Mutant, NAMED_LOCKS, Publish, RECOVERY, RELEASE, Rm, Rules,
    STALE_REMOVAL, Start, TRUE_BUSY,
};
use step::Next;

const ABSENT: &[Start] = &[Start::Absent];
const STALE: &[Start] = &[Start::Stale];
const LONG_STALE: &[Start] = &[Start::LongStale];
const JUNK: &[Start] = &[Start::Junk];
const ANY: &[Start] = &[Start::Absent, Start::Stale, Start::Junk];
const PID_ONLY_OWNER: &[Start] = &[Start::PidOnlyOwner];

/// As many processes as pids: every pid is recycled all the time.
fn processes(ours: u8) -> Rules {
    Rules {
        ours: ours.into(),
        seeds: 0,
        children: 0,
        threads: 1,
        pids: ours,
        starts: ANY,
        crashes: true,
        zombies: false,
        strangers: false,
        rm: Rm::Never,
        fork: Fork::AndDrop,
        publish: Publish::Unnamed,
        temporaries: 0,
        kernel_lock_only: false,
        mutant: None,
    }
}

/// Further pids beside those of the processes, with all that can become of a pid.
fn with_zombies_and_strangers(rules: Rules) -> Rules {
    Rules { pids: rules.pids + 1, zombies: true, strangers: true, ..rules }
}

fn with_a_child(fork: Fork, rules: Rules) -> Rules {
    Rules { children: 1, pids: rules.pids + 1, fork, ..rules }
}

fn with_temporaries(publish: Publish, rules: Rules) -> Rules {
    Rules { temporaries: 3, publish, ..rules }
}

fn but(mutant: Mutant, rules: Rules) -> Rules {
    Rules { mutant: Some(mutant), ..rules }
}

fn seeds(ours: usize, seeds: usize, starts: &'static [Start]) -> Rules {
    Rules { ours, seeds, starts, crashes: false, ..processes(2) }
}

mod clean {
    use super::*;

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
        let threads = Rules { threads: 2, ..processes(1) };
        assert_eq!(with_a_child(Fork::AndDrop, threads).assert_clean(), 0);
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
        assert_eq!(
            with_temporaries(Publish::RenamedTemporary, processes(2)).assert_clean(),
            30_396
        );
    }

    #[test]
    fn temporaries_that_are_linked_keep_exclusion_and_are_swept() {
        let rules = with_temporaries(Publish::LinkedTemporary, processes(2));
        assert_eq!(Rules { temporaries: 2, ..rules }.assert_clean(), 51_677);
    }
}

/// In release, on two cores: see the times beside them.
mod clean_and_large {
    use super::*;

    #[test]
    #[ignore = "minutes"]
    fn two_processes_of_two_threads_never_own_it_together() {
        assert_eq!(Rules { threads: 2, ..processes(2) }.assert_clean(), 640_532);
    }

    #[test]
    #[ignore = "minutes"]
    fn three_processes_with_zombies_and_strangers_never_own_it_together() {
        let rules = Rules { zombies: true, strangers: true, ..processes(3) };
        assert_eq!(rules.assert_clean(), 0);
    }

    #[test]
    #[ignore = "minutes"]
    fn three_processes_with_zombies_strangers_and_a_fourth_pid_never_own_it_together() {
        assert_eq!(with_zombies_and_strangers(processes(3)).assert_clean(), 0);
    }

    #[test]
    #[ignore = "minutes"]
    fn two_processes_and_a_forked_child_never_own_it_together() {
        assert_eq!(with_a_child(Fork::AndDrop, processes(2)).assert_clean(), 3_972_770);
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
        assert_eq!(Rules { rm, ..processes(3) }.assert_clean(), 0);
    }

    #[test]
    #[ignore = "minutes"]
    fn temporaries_and_a_forked_child_keep_exclusion() {
        let rules = with_a_child(Fork::AndDrop, processes(1));
        assert_eq!(with_temporaries(Publish::RenamedTemporary, rules).assert_clean(), 0);
    }

    #[test]
    #[ignore = "minutes"]
    fn temporaries_that_are_linked_under_three_names_keep_exclusion() {
        assert_eq!(
            with_temporaries(Publish::LinkedTemporary, processes(2)).assert_clean(),
            103_747
        );
    }

    #[test]
    #[ignore = "minutes"]
    fn temporaries_of_three_processes_keep_exclusion() {
        let rules = Rules { crashes: false, ..processes(3) };
        assert_eq!(with_temporaries(Publish::RenamedTemporary, rules).assert_clean(), 0);
    }
}

/// Each slip is found, by one of the shortest traces there are.
mod mutants {
    use super::*;

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
}

/// What no code of ours can prevent, or does not: the docs say so.
mod limits {
    use super::*;

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
}
