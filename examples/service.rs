//! A service for systemd, of `Type=notify` or `Type=simple`.
//!
//! `cargo run --example service -- /tmp/service.pid`, twice.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use std::{env, io, thread};

use pidlockfile::Lockfile;
use pidlockfile::retry::{CancelToken, RetryPolicy};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> anyhow::Result<()> {
    let path = env::args_os().nth(1).unwrap_or_else(|| "/tmp/service-example.pid".into());
    let lockfile = Lockfile::new(path)?;
    let stop = stop_on_signals()?;
    let acquired = RetryPolicy::daemon()
        .run()
        .on_new_owner(|attempt| {
            println!("waiting: {}", attempt.error); // goes to the journal
            let _ = tell_systemd(&format!("STATUS=waiting: {}", attempt.error));
        })
        .cancel_on(&stop)
        .acquire(&lockfile);
    let guard = match acquired {
        Err(error) if error.is_cancelled() => return Ok(()), // stopped while it waited
        result => result?,
    };
    tell_systemd("READY=1\nSTATUS=working")?;
    while !stop.wait_timeout(Duration::from_secs(1)) {
        guard.verify()?; // fails if somebody has removed the file
    }
    guard.unlock()?;
    Ok(())
}

/// Sends a line as `sd_notify(3)` does. Without `Type=notify` there is nobody to tell.
fn tell_systemd(state: &str) -> io::Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(socket) => UnixDatagram::unbound()?.send_to(state.as_bytes(), socket).map(drop),
        None => Ok(()),
    }
}

fn stop_on_signals() -> io::Result<CancelToken> {
    let stop = CancelToken::new()?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let token = stop.clone();
    thread::spawn(move || signals.forever().for_each(|_| token.cancel()));
    Ok(stop)
}
