//! Who holds the lock: what it costs to read the record, and to prove it.

mod calls;
mod candidates;
mod effort;
mod floor;
mod owner;
mod place;
mod report;
mod rounds;
mod save;

use std::process;

use pidlockfile::Lockfile;

use crate::candidates::OURS;
use crate::owner::Owner;
use crate::place::Place;
use crate::report::Report;
use crate::rounds::{Runner, race};

fn main() {
    owner::serve_if_told();
    let place = Place::tmpfs();
    let path = place.path_for("ask");
    let _owner = Owner::with_kernel_locks(std::slice::from_ref(&path));
    let lockfile = Lockfile::new(&path).unwrap();
    let look = (floor::LOOK.at)(&path);
    let (attempt, owner, holder) = (lockfile.clone(), lockfile.clone(), lockfile);
    let runners = vec![
        Runner::new(floor::LOOK.name, move || assert!(!look(&mut || {}))),
        Runner::new(OURS, move || assert!(attempt.try_lock().is_err())),
        Runner::new("owner()", move || assert_ne!(owner.owner().unwrap(), Some(process::id()))),
        Runner::new("holder()", move || assert!(holder.holder().unwrap().is_some())),
    ];
    let times = race(runners, 400, 100);
    let remarks = |_: &str| Vec::new();
    Report {
        bench: "ask",
        place: &place.file_system,
        times,
        floor: floor::LOOK.name,
        remarks: &remarks,
    }
    .publish();
}
