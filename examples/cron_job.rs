//! A cron job that never runs twice at a time: it copies a file.
//!
//! `cargo run --example cron_job -- /tmp/copy.pid SOURCE TARGET`

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use pidlockfile::Lockfile;

/// "Try again later", from sysexits.h.
const EX_TEMPFAIL: u8 = 75;

fn main() -> anyhow::Result<ExitCode> {
    let paths: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [lock, source, target] = &paths[..] else {
        bail!("three paths are needed: LOCK SOURCE TARGET");
    };
    let _guard = match Lockfile::new(lock)?.try_lock() {
        Err(error) if error.is_temporary() => {
            eprintln!("not now: {error}"); // cron mails this line
            return Ok(ExitCode::from(EX_TEMPFAIL));
        }
        result => result?,
    };
    let mut source =
        File::open(source).with_context(|| format!("cannot read {}", source.display()))?;
    io::copy(&mut source, &mut File::create(target)?)?;
    Ok(ExitCode::SUCCESS)
}
