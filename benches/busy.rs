//! A refused attempt: what it costs to learn that somebody else has the lock.

mod calls;
mod candidates;
mod effort;
mod floor;
mod owner;
mod place;
mod report;
mod rounds;
mod save;

use crate::candidates::{Candidate, LOCKS};
use crate::owner::Owner;
use crate::place::Place;
use crate::report::Report;
use crate::rounds::{Runner, race};

fn main() {
    owner::serve_if_told();
    measure("busy, kernel lock", &[floor::LOOK], Owner::with_kernel_locks);
    let floors = [floor::LOOK_AND_KILL, floor::LOOK_INTO_PROC];
    measure("busy, pid only", &floors, Owner::with_pid_only);
}

/// The owner is another process that has all the lock files, one for each candidate.
fn measure(bench: &'static str, floors: &[Candidate], own: fn(&[std::path::PathBuf]) -> Owner) {
    let place = Place::tmpfs();
    let candidates: Vec<Candidate> = floors.iter().copied().chain(LOCKS).collect();
    let paths: Vec<_> = candidates.iter().map(|candidate| place.path_for(candidate.name)).collect();
    let _owner = own(&paths);
    let runners = candidates.iter().zip(&paths).filter_map(|(candidate, path)| {
        let attempt = (candidate.at)(path);
        if attempt(&mut || {}) {
            println!("{bench}: {} does not see this owner, and takes the lock", candidate.name);
            return None;
        }
        Some(Runner::new(candidate.name, move || assert!(!attempt(&mut || {}))))
    });
    let times = race(runners.collect(), 400, 100);
    let remarks = |_: &str| Vec::new();
    Report { bench, place: &place.file_system, times, floor: floors[0].name, remarks: &remarks }
        .publish();
}
