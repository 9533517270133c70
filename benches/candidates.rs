//! This crate and its peers, all behind one call.

use std::fs::{File, OpenOptions};
use std::path::Path;

use pidlockfile::Lockfile;
use pidlockfile::retry::{RetryPolicy, acquire_with_retry};

/// Tries the lock once; if that goes well, does the given work, releases, and says `true`.
///
/// Work inside and not a guard handed out: some guards borrow their lock.
pub type Attempt = Box<dyn Fn(&mut dyn FnMut()) -> bool>;

#[derive(Clone, Copy)]
pub struct Candidate {
    pub name: &'static str,
    /// A lock on the file at a path. What a program does once belongs here, what each cycle needs
    /// into the attempt.
    pub at: fn(&Path) -> Attempt,
}

/// Where the ratios of the tables point to.
pub const OURS: &str = "pidlockfile";

pub const LOCKS: [Candidate; 9] = [
    Candidate { name: OURS, at: ours },
    Candidate { name: "pidlock", at: pidlock },
    Candidate { name: "fslock, with pid", at: fslock_with_pid },
    Candidate { name: "fslock", at: fslock },
    Candidate { name: "fd-lock", at: fd_lock },
    Candidate { name: "named-lock", at: named_lock },
    Candidate { name: "gix-lock", at: gix_lock },
    Candidate { name: "fs4", at: fs4 },
    Candidate { name: "std File::try_lock", at: std_lock },
];

/// To these a file that is left behind is a stale one.
pub const LOCKS_BY_PID: [Candidate; 2] =
    [Candidate { name: OURS, at: ours }, Candidate { name: "pidlock", at: pidlock }];

/// A free lock, asked for by a policy. Where the lock is not free, this measures the policy.
pub const WITH_RETRY: Candidate = Candidate { name: "acquire_with_retry", at: ours_with_retry };

fn ours(path: &Path) -> Attempt {
    let lockfile = Lockfile::new(path).unwrap();
    Box::new(move |inside| match lockfile.try_lock() {
        Ok(guard) => {
            inside();
            guard.unlock().unwrap();
            true
        }
        Err(error) if error.is_temporary() => false,
        Err(error) => panic!("{error}"),
    })
}

fn ours_with_retry(path: &Path) -> Attempt {
    let lockfile = Lockfile::new(path).unwrap();
    let policy = RetryPolicy::none();
    Box::new(move |inside| {
        let guard = acquire_with_retry(&lockfile, &policy).unwrap();
        inside();
        guard.unlock().unwrap();
        true
    })
}

fn pidlock(path: &Path) -> Attempt {
    let path = path.to_owned();
    Box::new(move |inside| {
        // A `Pidlock` cannot be acquired twice. Its errors do not tell busy from broken.
        let mut lock = pidlock::Pidlock::new_validated(&path).unwrap();
        let acquired = lock.acquire().is_ok();
        if acquired {
            inside();
            // Somebody may have removed the file: pidlock takes a file for stale before its pid is in it.
            let _ = lock.release();
        }
        acquired
    })
}

fn fslock(path: &Path) -> Attempt {
    fslock_by(path, fslock::LockFile::try_lock)
}

fn fslock_with_pid(path: &Path) -> Attempt {
    fslock_by(path, fslock::LockFile::try_lock_with_pid)
}

fn fslock_by(
    path: &Path,
    try_lock: fn(&mut fslock::LockFile) -> Result<bool, fslock::Error>,
) -> Attempt {
    let path = path.to_owned();
    Box::new(move |inside| {
        let mut lock = fslock::LockFile::open(&path).unwrap();
        let acquired = try_lock(&mut lock).unwrap();
        if acquired {
            inside();
            lock.unlock().unwrap();
        }
        acquired
    })
}

fn fd_lock(path: &Path) -> Attempt {
    let path = path.to_owned();
    Box::new(move |inside| {
        let mut lock = fd_lock::RwLock::new(open_or_create(&path));
        while_held(lock.try_write(), inside)
    })
}

fn named_lock(path: &Path) -> Attempt {
    let path = path.to_owned();
    Box::new(move |inside| {
        let lock = named_lock::NamedLock::with_path(&path).unwrap();
        while_held(lock.try_lock(), inside)
    })
}

fn gix_lock(path: &Path) -> Attempt {
    let path = path.to_owned();
    Box::new(move |inside| {
        let fail = gix_lock::acquire::Fail::Immediately;
        while_held(gix_lock::Marker::acquire_to_hold_resource(&path, fail, None, 0), inside)
    })
}

fn fs4(path: &Path) -> Attempt {
    by_file(path, |file| fs4::FileExt::try_lock(file).is_ok())
}

fn std_lock(path: &Path) -> Attempt {
    by_file(path, |file| file.try_lock().is_ok())
}

fn by_file(path: &Path, try_lock: fn(&File) -> bool) -> Attempt {
    let path = path.to_owned();
    Box::new(move |inside| {
        let file = open_or_create(&path);
        let acquired = try_lock(&file);
        if acquired {
            inside();
        }
        acquired
    })
}

/// Does the work under a guard, if there is one, and drops it.
fn while_held<G, E>(guard: Result<G, E>, inside: &mut dyn FnMut()) -> bool {
    let acquired = guard.is_ok();
    if acquired {
        inside();
    }
    drop(guard);
    acquired
}

fn open_or_create(path: &Path) -> File {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap()
}
