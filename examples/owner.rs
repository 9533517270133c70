//! Prints the recorded owner of a lock, for a person or a script.
//!
//! `cargo run --example owner -- /tmp/demo.pid`
//!
//! Exit status: 0 if a running process is recorded, 1 if none is, 2 for errors. With 1 the lock need not be
//! free: flock(1) records nothing. Do not remove the file; the next process that locks removes a stale one.

use std::env;
use std::process::ExitCode;

use pidlockfile::{Error, Lockfile};

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: owner PATH");
        return ExitCode::from(2);
    };
    match Lockfile::new(path).and_then(|lockfile| lockfile.owner()) {
        Ok(Some(pid)) => {
            println!("{pid}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("owner: nobody");
            ExitCode::from(1)
        }
        Err(error @ (Error::DeadOwner { .. } | Error::InvalidPid { .. })) => {
            eprintln!("owner: nobody recorded ({error})");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("owner: {:#}", anyhow::Error::from(error)); // the cause too
            ExitCode::from(2)
        }
    }
}
