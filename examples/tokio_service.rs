//! A tokio service that waits for its lock, and ends cleanly on SIGTERM.
//!
//! `cargo run --features tokio --example tokio_service -- /tmp/service.pid`, twice.

use std::env;
use std::time::Duration;

use pidlockfile::retry::{CancelToken, RetryPolicy};
use pidlockfile::{LockGuard, Lockfile};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = env::args_os().nth(1).unwrap_or_else(|| "/tmp/tokio-example.pid".into());
    let lockfile = Lockfile::new(path)?;

    let stop = CancelToken::new()?;
    let token = stop.clone();
    let mut sigterm = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        sigterm.recv().await;
        token.cancel();
    });

    let acquired = RetryPolicy::daemon()
        .run()
        .on_new_owner(|attempt| println!("waiting: {}", attempt.error))
        .cancel_on(&stop)
        .acquire_async(lockfile)
        .await;
    let guard = match acquired {
        Err(error) if error.is_cancelled() => return Ok(()), // stopped while it waited
        result => result?,
    };

    println!("working");
    tokio::select! {
        result = work(&guard) => result?,
        () = stop.cancelled() => {}
    }
    guard.unlock()?;
    Ok(())
}

async fn work(guard: &LockGuard) -> Result<(), pidlockfile::Error> {
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        guard.verify()?; // fails if somebody has removed the file
    }
}
