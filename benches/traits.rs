//! What a lock leaves to be seen, found out by looking.

use std::fs;
use std::path::Path;
use std::process;

use crate::candidates::Candidate;

pub struct Traits {
    /// Whether a file next to the lock holds our pid while we hold the lock.
    pub records_pid: bool,
    /// Whether nothing is left after the release.
    pub removes_file: bool,
}

impl Traits {
    /// Takes and releases the lock at `path`, in a directory of its own.
    pub fn of(candidate: Candidate, path: &Path) -> Traits {
        let directory = path.parent().unwrap();
        let files = || fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut records_pid = false;
        let acquired = (candidate.at)(path)(&mut || {
            let pid = process::id().to_string();
            records_pid = files().any(|file| fs::read_to_string(file).unwrap().trim() == pid);
        });
        assert!(acquired, "{}", candidate.name);
        let removes_file = files().next().is_none();
        Traits { records_pid, removes_file }
    }
}

pub fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}
