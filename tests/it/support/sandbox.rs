//! A directory for each test, and assertions about it.

use std::fs::{File, FileTimes};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, UNIX_EPOCH};
use std::{env, fs, thread};

use nix::unistd::Uid;
use pidlockfile::{Holder, LockGuard, Lockfile};
use tempfile::TempDir;

/// More than any pid: `/proc/sys/kernel/pid_max` is at most 2^22.
pub const DEAD_PID: u32 = 2_000_000_000;

/// A user without privileges: `nobody`.
pub const OTHER_USER: u32 = 65534;

/// What may be at the path without an owner.
pub const START: &[fn(&Sandbox)] =
    &[|_| (), |sandbox| sandbox.plant(record_of(DEAD_PID)), |sandbox| sandbox.plant("junk")];

/// What the kernel or the file system refuses, which forces each way of publishing.
pub const PUBLISHING: &[&[&str]] =
    &[&[], &["link_by_empty_path"], &["tmpfile"], &["link_by_empty_path", "link_by_proc"]];

/// Where the tests have their files: `PIDLOCKFILE_TEST_DIR`, on the file system under test, or the usual
/// temporary directory.
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

    /// Takes the lock in this process. A test that needs the kernel lock to be free at a known moment lets a
    /// [`Peer`](crate::support::peer::Peer) hold it: a test that is just starting a process copies our files
    /// into it until execve(2).
    pub fn lock(&self) -> LockGuard {
        self.lockfile().try_lock().unwrap()
    }

    /// Plants a lock file that nobody holds.
    pub fn plant(&self, record: impl AsRef<[u8]>) {
        fs::write(self.path(), record).unwrap();
    }

    /// Plants what a process of ours with this pid leaves behind when it is killed.
    pub fn plant_leftover(&self, pid: u32) {
        self.plant(record_of(pid));
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, stamp_nanoseconds(pid));
        let file = File::options().write(true).open(self.path()).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    pub fn record(&self) -> String {
        String::from_utf8(fs::read(self.path()).unwrap()).unwrap()
    }

    /// The names of everything in the directory.
    pub fn names(&self) -> Vec<String> {
        names_in(self.dir())
    }

    /// Takes and releases the lock, and expects nothing to be left.
    pub fn assert_free_and_clean(&self) {
        self.lock().unlock().unwrap();
        assert_eq!(self.names(), Vec::<String>::new());
    }
}

/// The names of everything in a directory, except what FUSE and NFS keep of a removed file that was still open.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept = [".fuse_hidden", ".ghost-ntfs-3g", ".nfs"];
    names.filter(|name| !kept.iter().any(|prefix| name.starts_with(prefix))).collect()
}

/// Tries until it gets the lock; the test's own timeout is the limit.
pub fn lock_spinning(lockfile: &Lockfile) -> LockGuard {
    loop {
        match lockfile.try_lock() {
            Ok(guard) => return guard,
            Err(error) if error.is_temporary() => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The holder, which must be proven.
pub fn holder(lockfile: &Lockfile) -> Holder {
    lockfile.holder().unwrap().expect("somebody holds the lock")
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The content of a lock file that `pid` owns.
pub fn record_of(pid: u32) -> String {
    format!("{pid}\n")
}

/// The stamp as every version of the crate must know it: the nanoseconds of the modification time.
pub fn stamp_nanoseconds(pid: u32) -> u32 {
    let spread = u32::try_from(u64::from(pid) * 1_000_003 % 8_999_993).unwrap();
    spread / 9 * 1000 + (spread % 9 + 1) * 100
}

/// A running process that has nothing to do with locks, as long as the value lives.
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

/// Skips the test where it cannot run, and says so on the real standard error, which the test harness does not
/// capture.
macro_rules! require {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            let thread = std::thread::current();
            let skipped = format!("SKIPPED {}: {}\n", thread.name().unwrap_or("a test"), $reason);
            let _ = std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes());
            return;
        }
    };
}
pub(crate) use require;
