//! An uncontended acquire and release: what a lock costs when nobody is in the way.
//!
//! `cargo bench --bench cycle -- serve FREE BUSY` takes its turns with programs in other languages
//! instead; others.py calls it.

mod calls;
mod candidates;
mod effort;
mod floor;
mod place;
mod report;
mod rounds;
mod save;
mod serve;
mod traits;

use crate::candidates::{Candidate, LOCKS};
use crate::place::Place;
use crate::report::Report;
use crate::rounds::{Runner, race};
use crate::traits::{Traits, yes_or_no};

fn main() {
    if serve::is_wanted() {
        return serve::serve();
    }
    measure(&Place::tmpfs());
    measure(&Place::disk());
}

fn measure(place: &Place) {
    let candidates: Vec<Candidate> =
        [floor::CYCLE, floor::EXCLUSIVE].into_iter().chain(LOCKS).collect();
    let remarks = |name: &str| {
        let candidate = *candidates.iter().find(|candidate| candidate.name == name).unwrap();
        if name == floor::OWN_CALLS || name == floor::EXCLUSIVE.name {
            return vec![("pid recorded", String::new()), ("file removed", String::new())];
        }
        let seen = Traits::of(candidate, &place.path_for(&format!("{name} seen")));
        vec![
            ("pid recorded", yes_or_no(seen.records_pid)),
            ("file removed", yes_or_no(seen.removes_file)),
        ]
    };
    let runners = candidates.iter().map(|candidate| {
        let attempt = (candidate.at)(&place.path_for(candidate.name));
        Runner::new(candidate.name, move || assert!(attempt(&mut || {})))
    });
    let times = race(runners.collect(), 400, 40);
    let floor = floor::OWN_CALLS;
    Report { bench: "cycle", place: &place.file_system, times, floor, remarks: &remarks }.publish();
}
