//! Another process that owns lock files: this binary run again.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::{env, str};

const PATHS: &str = "PIDLOCKFILE_BENCH_OWN";

/// Lives until this value is dropped.
pub struct Owner(Child);

impl Owner {
    /// Has all of them with a record and a kernel lock.
    pub fn with_kernel_locks(paths: &[PathBuf]) -> Owner {
        Owner::start(paths)
    }

    /// Is named by the records of all of them, and knows nothing of it.
    #[allow(dead_code, reason = "not every bench has such an owner")]
    pub fn with_pid_only(paths: &[PathBuf]) -> Owner {
        let owner = Owner::start(&[]);
        for path in paths {
            fs::write(path, format!("{}\n", owner.0.id())).unwrap();
        }
        owner
    }

    fn start(paths: &[PathBuf]) -> Owner {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(PATHS, env::join_paths(paths).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Owner(child)
    }
}

/// Does the owner's part, if this process was started for that.
pub fn serve_if_told() {
    let Some(paths) = env::var_os(PATHS) else {
        return;
    };
    let locks: Vec<_> = env::split_paths(&paths)
        .filter(|path| path.is_absolute())
        .map(|path| {
            // gix-lock goes by a file beside the path.
            fs::write(path.with_extension("pid.lock"), "").unwrap();
            pidlockfile::Lockfile::new(path).unwrap().try_lock().unwrap()
        })
        .collect();
    print!("!");
    io::stdout().flush().unwrap();
    let _ = io::stdin().read(&mut [0]);
    drop(locks);
    process::exit(0);
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
