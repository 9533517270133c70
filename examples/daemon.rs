//! A daemon that waits for its lock, works while it holds the lock, and ends cleanly on SIGTERM and SIGINT.
//!
//! `cargo run --example daemon -- /run/daemon.pid`, twice.

use std::time::Duration;
use std::{env, io, process, thread};

use pidlockfile::Lockfile;
use pidlockfile::retry::{CancelToken, RetryPolicy};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const WORK_INTERVAL: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let path = env::args_os().nth(1).unwrap_or_else(|| "/tmp/daemon-example.pid".into());
    let lockfile = Lockfile::new(path)?;
    let stop = stop_on_signals()?;

    let acquired = RetryPolicy::daemon()
        .run()
        .on_new_owner(|attempt| match attempt.owner() {
            Some(pid) => println!("waiting for process {pid}"),
            None => println!("waiting: {attempt}"),
        })
        .cancel_on(&stop)
        .acquire(&lockfile);
    let guard = match acquired {
        Ok(guard) => guard,
        Err(error) if error.is_cancelled() => {
            println!("{error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };

    println!("working as process {}", process::id());
    // A real daemon may also poll its sockets, with the token's descriptor among them.
    while !stop.wait_timeout(WORK_INTERVAL) {
        // Another program may have removed the file, and another daemon may now have the lock.
        guard.verify()?;
    }
    guard.unlock()?;
    println!("stopped");
    Ok(())
}

/// A thread that waits for signals may call any function, and needs no `unsafe`.
fn stop_on_signals() -> io::Result<CancelToken> {
    let stop = CancelToken::new()?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let token = stop.clone();
    thread::spawn(move || signals.forever().for_each(|_| token.cancel()));
    Ok(stop)
}
