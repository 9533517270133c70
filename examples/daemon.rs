//! A daemon that waits for its lock, works while the lock is its own, and ends cleanly on SIGTERM
//! and SIGINT.
//!
//! `cargo run --example daemon -- /run/daemon.pid`, twice.

use std::error::Error;
use std::os::fd::AsFd as _;
use std::{env, process, thread};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use pidlockfile::Lockfile;
use pidlockfile::retry::{CancelToken, GaveUp, RetryPolicy};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const WORK_INTERVAL_MS: u16 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).unwrap_or_else(|| "/tmp/daemon-example.pid".into());
    let lockfile = Lockfile::new(path)?;
    let stop = stop_on_signals()?;

    let policy = RetryPolicy::daemon();
    let acquired = policy
        .run()
        .on_wait(|attempt| match attempt.owner() {
            Some(pid) if attempt.number == 1 => println!("waiting for process {pid}"),
            None if attempt.number == 1 => println!("waiting: {}", attempt.error),
            _ => {}
        })
        .cancel_on(&stop)
        .acquire(&lockfile);
    let guard = match acquired {
        Ok(guard) => guard,
        Err(error) if error.reason == GaveUp::Cancelled => {
            println!("{error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };

    println!("working as process {}", process::id());
    while !stop.is_cancelled() {
        // An outsider may have removed the file, and another daemon may have the lock by now.
        guard.verify()?;
        work_or_stop(&stop)?;
    }
    guard.unlock()?;
    println!("stopped");
    Ok(())
}

/// A thread that waits for signals may do anything, and needs no `unsafe`.
fn stop_on_signals() -> Result<CancelToken, Box<dyn Error>> {
    let stop = CancelToken::new()?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let token = stop.clone();
    thread::spawn(move || signals.forever().for_each(|_| token.cancel()));
    Ok(stop)
}

/// Where a real daemon polls its sockets, with the token's descriptor among them.
fn work_or_stop(stop: &CancelToken) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(stop.as_fd(), PollFlags::POLLIN)], WORK_INTERVAL_MS) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
