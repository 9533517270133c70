//! A directory of its own for each test, and what the tests ask of it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::{env, fs};

use nix::unistd::Uid;
use pidlockfile::{LockGuard, Lockfile};
use tempfile::TempDir;

/// More than any pid: `/proc/sys/kernel/pid_max` is at most 2^22.
pub const DEAD_PID: u32 = 2_000_000_000;

/// A user without privileges: `nobody`.
pub const OTHER_USER: u32 = 65534;

/// Where the tests have their files: `PIDLOCKFILE_TEST_DIR`, on the file system under test, or as always.
pub fn test_dir() -> PathBuf {
    env::var_os("PIDLOCKFILE_TEST_DIR").map_or_else(env::temp_dir, PathBuf::from)
}

pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    /// A directory that every user may search.
    pub fn new() -> Sandbox {
        let dir = tempfile::tempdir_in(test_dir()).unwrap();
        set_mode(dir.path(), 0o755);
        Sandbox { dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of the lock file.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("test.pid")
    }

    pub fn lockfile(&self) -> Lockfile {
        Lockfile::new(self.path()).unwrap()
    }

    /// Takes the lock in this process. Where its kernel lock must be free again at a known moment, a
    /// [`Peer`](crate::peer::Peer) holds it: a test that starts a process just now copies our files into
    /// it until execve(2).
    pub fn lock(&self) -> LockGuard {
        self.lockfile().try_lock().unwrap()
    }

    /// Plants a lock file that nobody holds.
    pub fn plant(&self, record: impl AsRef<[u8]>) {
        fs::write(self.path(), record).unwrap();
    }

    pub fn record(&self) -> String {
        String::from_utf8(fs::read(self.path()).unwrap()).unwrap()
    }

    /// The names of all that is in the directory.
    pub fn names(&self) -> Vec<String> {
        names_in(self.dir())
    }

    /// Takes and releases the lock, and expects nothing to be left.
    pub fn assert_free_and_clean(&self) {
        self.lock().unlock().unwrap();
        assert_eq!(self.names(), Vec::<String>::new());
    }
}

/// The names of all that is in a directory, but for what FUSE and NFS keep of a file that was removed while
/// somebody had it open.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept = [".fuse_hidden", ".ghost-ntfs-3g", ".nfs"];
    names.filter(|name| !kept.iter().any(|prefix| name.starts_with(prefix))).collect()
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The content of a lock file that `pid` owns.
pub fn record_of(pid: u32) -> String {
    format!("{pid}\n")
}

/// The stamp as every version of the crate has to know it: the nanoseconds of the modification time.
pub fn stamp_nanoseconds(pid: u32) -> u32 {
    let spread = u32::try_from(u64::from(pid) * 1_000_003 % 8_999_993).unwrap();
    spread / 9 * 1000 + (spread % 9 + 1) * 100
}

/// A running process that knows nothing of locks, for as long as the value lives.
pub struct Bystander(Child);

impl Bystander {
    pub fn new() -> Bystander {
        Bystander(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Says on the real standard error, which the test harness does not capture, what was not tested.
pub fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Leaves the test where it cannot run, loudly.
macro_rules! require {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            $crate::sandbox::skip(std::thread::current().name().unwrap_or("a test"), $reason);
            return;
        }
    };
}
pub(crate) use require;
