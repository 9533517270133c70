//! The idea in a few lines: the lock is held for as long as the guard is in scope.
//!
//! `cargo run --example scoped`

use pidlockfile::{Error, Lockfile};

fn main() -> Result<(), Error> {
    let lockfile = Lockfile::new(std::env::temp_dir().join("scoped-example.pid"))?;
    {
        let _guard = lockfile.try_lock()?;
        println!("locked by process {:?}", lockfile.owner()?);
    }
    println!("released; owner is now {:?}", lockfile.owner()?);
    Ok(())
}
