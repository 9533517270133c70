//! The idea in a few lines: the lock is held for as long as the guard is in scope.
//!
//! `cargo run --example scoped`

use std::{env, process};

use pidlockfile::Lockfile;

fn main() -> anyhow::Result<()> {
    let lockfile = Lockfile::new(env::temp_dir().join("scoped-example.pid"))?;
    {
        let _guard = lockfile.try_lock()?;
        println!("locked by process {}", process::id());
    }
    println!("released");
    Ok(())
}
