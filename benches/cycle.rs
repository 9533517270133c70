//! An uncontended acquire and release: what a lock costs when nobody is in the way.

use std::{fs, process};

use serde_json::{Map, Value, json};

use crate::candidates::{Candidate, LOCKS, WITH_RETRY};
use crate::place::Place;
use crate::rounds::Runner;
use crate::{floor, report};

pub fn measure() -> Value {
    let places = [Place::tmpfs(), Place::disk()];
    let seen: Map<String, Value> = LOCKS
        .into_iter()
        .chain([WITH_RETRY])
        .map(|candidate| (candidate.name.to_owned(), seen_of(candidate, &places[0])))
        .collect();
    json!({ "races": places.each_ref().map(race), "seen": seen })
}

fn race(place: &Place) -> Value {
    let mut candidates = [&[floor::CYCLE, floor::EXCLUSIVE][..], &LOCKS].concat();
    candidates.insert(3, WITH_RETRY); // beside ours
    let runners = candidates.iter().map(|candidate| {
        let attempt = (candidate.at)(&place.path_for(candidate.name));
        Runner::new(candidate.name, move || assert!(attempt(&mut || {})))
    });
    report::race("cycle", place, floor::OWN_CALLS, runners.collect(), 40)
}

/// What the lock leaves to be seen: its owner's pid beside it, and nothing after the release.
fn seen_of(candidate: Candidate, place: &Place) -> Value {
    let path = place.path_for(&format!("{} seen", candidate.name));
    let directory = path.parent().unwrap();
    let files = || fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut records_pid = false;
    let acquired = (candidate.at)(&path)(&mut || {
        let pid = process::id().to_string();
        records_pid = files().any(|file| fs::read_to_string(file).unwrap().trim() == pid);
    });
    assert!(acquired, "{}", candidate.name);
    let yes_or_no = |is| if is { "yes" } else { "no" };
    json!({
        "pid recorded": yes_or_no(records_pid),
        "file removed": yes_or_no(files().next().is_none()),
    })
}
