//! Where the processes fight.

use std::path::{Path, PathBuf};
use std::{env, fs};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

const LOCK_VARIABLE: &str = "PIDLOCKFILE_ARENA_LOCK";
const LOCAL_VARIABLE: &str = "PIDLOCKFILE_ARENA_LOCAL";

/// Two directories: one on the file system under test, and one that is certainly on a local one.
pub struct Arena {
    pub dir: PathBuf,
    local: PathBuf,
}

impl Arena {
    /// An arena with a lock in a new directory inside `dir`, and the directories, which must live as long as
    /// the arena is used.
    pub fn prepare(dir: &Path) -> (Arena, [TempDir; 2]) {
        let dirs = [tempfile::tempdir_in(dir).unwrap(), tempfile::tempdir().unwrap()];
        let [dir, local] = dirs.each_ref().map(|dir| dir.path().to_owned());
        let arena = Arena { dir, local };
        fs::create_dir(arena.lock_dir()).unwrap();
        fs::write(arena.witness(), 0_u64.to_ne_bytes()).unwrap();
        mkfifo(&arena.reports(), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        (arena, dirs)
    }

    /// The arena that a process was started in.
    pub fn of_this_process() -> Arena {
        let dir_in = |variable| env::var_os(variable).expect("only the fight runs this").into();
        Arena { dir: dir_in(LOCK_VARIABLE), local: dir_in(LOCAL_VARIABLE) }
    }

    pub fn variables(&self) -> [(&str, &Path); 2] {
        [(LOCK_VARIABLE, &self.dir), (LOCAL_VARIABLE, &self.local)]
    }

    /// The lock has its own directory, so that nothing left there goes unnoticed.
    pub fn lock_dir(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub fn lock_path(&self) -> PathBuf {
        self.lock_dir().join("test.pid")
    }

    /// The file with the witness, a record lock, and the count in it.
    pub fn witness(&self) -> PathBuf {
        self.local.join("witness")
    }

    /// The fifo to the referee.
    pub fn reports(&self) -> PathBuf {
        self.local.join("reports")
    }
}
