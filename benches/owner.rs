//! Another process that owns lock files, until it is dropped.

use std::fs;
use std::io;
use std::path::PathBuf;

use pidlockfile::Lockfile;

use crate::again::Process;

/// Has all of them with a record and a kernel lock.
pub fn with_kernel_locks(paths: &[PathBuf]) -> Process {
    let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let mut owner = Process::start("own", &paths);
    assert_eq!(owner.answer(), "ready");
    owner
}

/// Is named by the records of all of them, and knows nothing of it.
pub fn with_pid_only(paths: &[PathBuf]) -> Process {
    let owner = with_kernel_locks(&[]);
    for path in paths {
        fs::write(path, format!("{}\n", owner.pid())).unwrap();
    }
    owner
}

/// The owner's part.
pub fn own(paths: &[String]) {
    let lock = |path: &String| {
        let path = PathBuf::from(path);
        // gix-lock goes by a file beside the path.
        fs::write(path.with_extension("pid.lock"), "").unwrap();
        Lockfile::new(path).unwrap().try_lock().unwrap()
    };
    let _locks: Vec<_> = paths.iter().map(lock).collect();
    println!("ready");
    io::stdin().lines().for_each(drop);
}
