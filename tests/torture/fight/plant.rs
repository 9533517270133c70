//! Stale files, put in place for the workers by an outsider.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::chance::{random, random_index};
use crate::fight::{Fight, Heir, WORKERS};
use crate::sandbox::{DEAD_PID, record_of};

impl Fight {
    /// Puts a stale file in place if the name is free.
    pub fn plant(&mut self) {
        let record = self.stale_record();
        let prepared = self.arena.dir.join("prepared");
        // It stays for a while: a planted file with a second name keeps one link when its first name is
        // removed.
        match fs::remove_file(&prepared) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => fs::write(&prepared, &record).unwrap(),
        }
        for _ in 0..100 {
            match self.plant_once(&prepared, &record) {
                Ok(()) => {
                    self.planted += 1;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Complete, as a careful outsider writes it, or as `set -C; echo PID > FILE` does, which a reader can find
    /// empty.
    fn plant_once(&self, prepared: &Path, record: &str) -> io::Result<()> {
        // The late write of `set -C` may meet the record of a script that found the file empty: that is its own
        // fault.
        if self.terms.heir == Heir::Script || random(2) == 0 {
            match fs::hard_link(prepared, self.arena.lock_path()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
                planted => return planted,
            }
        }
        // In this case, and where the file system has no hard links.
        File::create_new(self.arena.lock_path())?.write_all(record.as_bytes())
    }

    fn stale_record(&self) -> String {
        match random(5) {
            0 => String::new(),
            1 => "garbage".to_owned(),
            // One worker finds its own pid, and all others a live process. A stranger that gets this pid owns
            // the lock by the record.
            2 if !self.workers.is_empty() && self.terms.heir == Heir::Successor => {
                record_of(self.workers[random_index(WORKERS)].id())
            }
            3 if self.zombies_are_told => record_of(self.zombie.id()),
            _ => record_of(DEAD_PID),
        }
    }
}
