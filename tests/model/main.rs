//! A model of the lock; a checker tries every interleaving.
//!
//! # How to read this
//!
//! `world.rs` is the machine: a call on it is one system call and one atomic step; `world/file_system.rs`
//! describes each kind of file system. `ours.rs` is the protocol, one function a call, with the step numbers of
//! `Lockfile::try_lock` (`step.rs` names them). When one changes, change the other. `script.rs` is a program
//! that knows only the record, `seed.rs` the Go package's algorithm. `rules.rs` says what may happen between
//! any two steps (kill, fork, a recycled pid, …), `setup.rs` describes a run, `promise.rs` says who owns the
//! lock and what a script may rely on, and `check.rs` has the properties. Then the runs: `clean.rs` is the
//! protocol as it is, with the number of states; `mutants.rs` gets one step wrong; `limits.rs` shows what the
//! docs warn about.
//!
//! `cargo test --test model limits -- --nocapture` prints the traces.
//!
//! The model leaves out: errors of system calls other than those of the directory's permissions and the kernel
//! lock, a reply that NFS loses, a file that may not be opened, and the bound of 16 looks (here a process looks
//! as often as it likes). To check that a new process acquires, one runs alone from the aftermath of every
//! state: stateright's `eventually` does not see cycles, and everything here is a cycle.

mod world;
mod step;
mod setup;
mod rules;
mod ours;
mod script;
mod seed;
mod promise;
mod check;
mod tell;

mod clean;
mod mutants;
mod limits;

use setup::{Fork, Mutant, Publish, Rm, Rules, Start};
use world::FileSystem;

const ABSENT: &[Start] = &[Start::Absent];
const LONG_STALE: &[Start] = &[Start::LongStale];
const ANY: &[Start] = &[Start::Absent, Start::Stale, Start::Blank];
const PID_ONLY_OWNER: &[Start] = &[Start::PidOnlyOwner];

/// As many pids as processes: every pid is recycled all the time.
fn processes(ours: u8) -> Rules {
    Rules {
        ours: ours.into(),
        seeds: 0,
        scripts: 0,
        scripts_truncate: true,
        children: 0,
        threads: 1,
        pids: ours,
        starts: ANY,
        crashes: true,
        zombies: false,
        strangers: false,
        rm: Rm::Never,
        fork: Fork::AndDrop,
        file_system: FileSystem::Local,
        sticky: false,
        publish: Publish::Unnamed,
        kernel_lock_only: false,
        mutant: None,
    }
}

/// More pids than processes, in all states that a pid can have.
fn with_zombies_and_strangers(rules: Rules) -> Rules {
    Rules { pids: rules.pids + 1, zombies: true, strangers: true, ..rules }
}

fn with_a_child(fork: Fork, rules: Rules) -> Rules {
    Rules { children: 1, pids: rules.pids + 1, fork, ..rules }
}

fn with_a_script(rules: Rules) -> Rules {
    Rules { scripts: 1, pids: rules.pids + 1, ..rules }
}

fn on(file_system: FileSystem, rules: Rules) -> Rules {
    Rules { file_system, publish: Publish::Exclusive, ..rules }
}

fn but(mutant: Mutant, rules: Rules) -> Rules {
    Rules { mutant: Some(mutant), ..rules }
}

fn seeds(ours: usize, seeds: usize, starts: &'static [Start]) -> Rules {
    Rules { ours, seeds, starts, crashes: false, ..processes(2) }
}
