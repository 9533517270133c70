//! Files next to the lock: the number that all add to, and what each process has seen.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Eight bytes for the number, then sixteen for each process, which only that one writes.
pub struct Tally(File);

impl Tally {
    pub fn create(directory: &Path, processes: u32) -> Tally {
        let file = File::create_new(directory.join("tally")).unwrap();
        file.set_len(8 + 16 * u64::from(processes)).unwrap();
        Tally::open(directory)
    }

    pub fn open(directory: &Path) -> Tally {
        Tally(OpenOptions::new().read(true).write(true).open(directory.join("tally")).unwrap())
    }

    /// Adds one, in two steps on purpose; says how often this process has.
    pub fn add_one(&self, slot: u32, give_way: bool) -> u64 {
        let count = self.count();
        if give_way {
            thread::yield_now();
        }
        self.write(0, count + 1);
        let acquired = self.acquired(slot) + 1;
        self.write(8 + 16 * u64::from(slot), acquired);
        acquired
    }

    pub fn waited(&self, slot: u32, wait: Duration) {
        if wait > self.longest_wait(slot) {
            let nanoseconds = wait.as_nanos().try_into().expect("no run lasts for centuries");
            self.write(16 + 16 * u64::from(slot), nanoseconds);
        }
    }

    pub fn count(&self) -> u64 {
        self.read(0)
    }

    pub fn acquired(&self, slot: u32) -> u64 {
        self.read(8 + 16 * u64::from(slot))
    }

    pub fn longest_wait(&self, slot: u32) -> Duration {
        Duration::from_nanos(self.read(16 + 16 * u64::from(slot)))
    }

    fn read(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn write(&self, offset: u64, number: u64) {
        self.0.write_all_at(&number.to_ne_bytes(), offset).unwrap();
    }
}
