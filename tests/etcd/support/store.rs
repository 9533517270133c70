//! What the lock protects: a store that takes no token lower than one it has seen.
//!
//! A file under an flock(2), one line a write. It has no idea of the lock; the token alone decides.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub struct Store(PathBuf);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Write {
    pub is_accepted: bool,
    pub token: u64,
    pub pid: u32,
}

impl Store {
    pub fn at(path: impl AsRef<Path>) -> Store {
        Store(path.as_ref().to_owned())
    }

    /// Writes if the token is as high as any before; whether it did.
    pub fn write(&self, token: u64, pid: u32) -> io::Result<bool> {
        let mut file = File::options().create(true).append(true).open(&self.0)?;
        file.lock()?;
        let highest = self.writes()?.iter().filter(|it| it.is_accepted).map(|it| it.token).max();
        let is_accepted = highest.is_none_or(|highest| token >= highest);
        // In one write: who is killed in between leaves no half of a line.
        file.write_all(format!("{is_accepted} {token} {pid}\n").as_bytes())?;
        Ok(is_accepted)
    }

    /// All that were tried, in order.
    pub fn writes(&self) -> io::Result<Vec<Write>> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            Write {
                is_accepted: word() == "true",
                token: word().parse().unwrap(),
                pid: word().parse().unwrap(),
            }
        };
        Ok(text.lines().map(parse).collect())
    }

    /// How many tokens have written.
    pub fn owners(&self) -> usize {
        let writes = self.writes().unwrap();
        writes.iter().map(|write| write.token).collect::<BTreeSet<_>>().len()
    }
}
