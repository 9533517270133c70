//! Brings states that differ only in numbers into one form.

use super::{OpenFile, World, small};

impl World {
    /// Drops what nothing refers to and numbers the rest in the order of reference, so that states that differ
    /// only in numbers are equal.
    pub(crate) fn tidy(&mut self) {
        let mut files = Renumbering::default();
        for thread in &mut self.threads {
            thread.file = thread.file.map(|file| files.number(file));
        }
        let is_open = |file: &Option<OpenFile>| file.is_some_and(|file| file.holders != 0);
        for (id, _) in self.files.iter().enumerate().filter(|(_, file)| is_open(file)) {
            files.number(small(id));
        }
        self.files = files.apply(&self.files);
        let mut inodes = Renumbering::default();
        for name in self.names.iter_mut().flatten() {
            *name = inodes.number(*name);
        }
        for file in self.files.iter_mut().flatten() {
            file.inode = inodes.number(file.inode);
        }
        // A cached name keeps no file: the server returns ESTALE for a file that is gone, and the client asks
        // again.
        for cached in &mut self.cached {
            *cached = cached.and_then(|inode| inodes.new[usize::from(inode)]);
        }
        self.inodes = inodes.apply(&self.inodes);
    }
}

/// Maps old numbers to new ones, in the order of first mention.
#[derive(Default)]
struct Renumbering {
    new: [Option<u8>; 8],
    count: u8,
}

impl Renumbering {
    fn number(&mut self, old: u8) -> u8 {
        *self.new[usize::from(old)].get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        })
    }

    fn apply<T: Copy, const N: usize>(&self, table: &[Option<T>; N]) -> [Option<T>; N] {
        let mut renumbered = [None; N];
        for (&entry, &new) in table.iter().zip(&self.new) {
            if let Some(new) = new {
                renumbered[usize::from(new)] = entry;
            }
        }
        renumbered
    }
}
