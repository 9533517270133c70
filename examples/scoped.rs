//! The idea in a few lines: the lock is held for as long as the guard is in scope.
//!
//! `cargo run --example scoped`

use std::error::Error as _;
use std::process::{self, ExitCode};

use pidlockfile::{Error, Lockfile};

fn main() -> ExitCode {
    let Err(error) = work_alone() else { return ExitCode::SUCCESS };
    let cause = error.source().map(|cause| format!(": {cause}"));
    eprintln!("scoped: {error}{}", cause.unwrap_or_default());
    ExitCode::FAILURE
}

fn work_alone() -> Result<(), Error> {
    let lockfile = Lockfile::new(std::env::temp_dir().join("scoped-example.pid"))?;
    {
        let _guard = lockfile.try_lock()?;
        println!("locked by process {}", process::id());
    }
    println!("released");
    Ok(())
}
