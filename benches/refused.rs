//! What it costs to learn that somebody else has the lock, and who: the owner is another process.

use std::path::PathBuf;
use std::process;

use pidlockfile::Lockfile;
use serde_json::{Value, json};

use crate::again::Process;
use crate::candidates::{Candidate, LOCKS, OURS};
use crate::place::Place;
use crate::rounds::Runner;
use crate::{floor, owner, report};

pub fn by_kernel_lock() -> Value {
    measure("refused", &[floor::LOOK], owner::with_kernel_locks)
}

pub fn by_pid() -> Value {
    let floors = [floor::LOOK_AND_KILL, floor::LOOK_INTO_PROC];
    measure("refused by pid", &floors, owner::with_pid_only)
}

/// The owner has all the lock files, one for each candidate.
fn measure(bench: &str, floors: &[Candidate], own: fn(&[PathBuf]) -> Process) -> Value {
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
    json!({ "races": [report::race(bench, &place, floors[0].name, runners.collect(), 100)] })
}

/// What it costs to read the record, and to prove it.
pub fn and_asked() -> Value {
    let place = Place::tmpfs();
    let path = place.path_for("ask");
    let _owner = owner::with_kernel_locks(std::slice::from_ref(&path));
    let lockfile = Lockfile::new(&path).unwrap();
    let look = (floor::LOOK.at)(&path);
    let (attempt, owner, holder) = (lockfile.clone(), lockfile.clone(), lockfile);
    let runners = vec![
        Runner::new(floor::LOOK.name, move || assert!(!look(&mut || {}))),
        Runner::new(OURS, move || assert!(attempt.try_lock().is_err())),
        Runner::new("owner()", move || assert_ne!(owner.owner().unwrap(), Some(process::id()))),
        Runner::new("holder()", move || assert!(holder.holder().unwrap().is_some())),
    ];
    json!({ "races": [report::race("ask", &place, floor::LOOK.name, runners, 100)] })
}
