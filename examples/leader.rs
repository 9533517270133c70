//! One of several machines works, and another takes over when it stops, dies or is cut off.
//!
//! `cargo run --features etcd --example leader -- http://127.0.0.1:2379 jobs/nightly /tmp/store`, several times. The
//! endpoints are separated by commas, and a number of seconds may follow as the lease's time.
//!
//! The store is a file here. It stands for any that can compare two numbers: it takes no write whose token is lower
//! than one that it has seen, so a leader that was stopped in the middle of its work and wakes up late harms nothing.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, process, thread};

use pidlockfile::etcd::{EtcdGuard, EtcdLock};
use pidlockfile::retry::{CancelToken, RetryPolicy};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const WORK_INTERVAL: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let cause = error.source().map(|cause| format!(": {cause}"));
    eprintln!("leader: {error}{}", cause.unwrap_or_default());
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [endpoints, name, store, rest @ ..] = &arguments[..] else {
        return Err("usage: leader ENDPOINT,… NAME STORE [SECONDS]".into());
    };
    let seconds = rest.first().map_or(Ok(10), |seconds| seconds.parse())?;
    let lock = EtcdLock::new(endpoints.split(','), name)?.ttl(Duration::from_secs(seconds));
    let stop = stop_on_signals()?;
    let mut store = Store { path: store.into(), written: 0 };

    while !stop.is_cancelled() {
        let acquired = RetryPolicy::daemon()
            .run()
            .on_new_owner(|attempt| println!("waiting: {}", attempt.error))
            .cancel_on(&stop)
            .acquire(&lock);
        let guard = match acquired {
            Ok(guard) => guard,
            Err(error) if error.is_cancelled() => break,
            Err(error) => return Err(error.into()),
        };
        println!("working as process {} with token {}", process::id(), guard.fencing_token());
        if let Err(error) = work(&guard, &mut store, &stop) {
            println!("stopped working: {error}");
        }
        // It is gone already if it was lost, which is no reason to end.
        if let Err(error) = guard.unlock() {
            println!("on release: {error}");
        }
    }
    println!("stopped after {} writes", store.written);
    Ok(())
}

/// Works until it is told to stop or the lock is lost, by the clock and without asking the server.
fn work(guard: &EtcdGuard, store: &mut Store, stop: &CancelToken) -> Result<(), Box<dyn Error>> {
    while !stop.is_cancelled() {
        // From here to the write any time can pass: that is what the token is for.
        if guard.lost().wait_timeout(WORK_INTERVAL) {
            return Err("the lock is lost".into());
        }
        store.write(guard.fencing_token())?;
    }
    Ok(())
}

struct Store {
    path: PathBuf,
    written: u32,
}

impl Store {
    /// Writes `TOKEN PID COUNT`, unless a higher token was here before.
    fn write(&mut self, token: u64) -> Result<(), Box<dyn Error>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&self.path)?;
        // Comparing and writing must be one step; a database does both in one statement.
        file.lock()?;
        let mut record = String::new();
        file.read_to_string(&mut record)?;
        let seen = match record.split_once(' ') {
            Some((seen, _)) => seen.parse()?,
            None => 0,
        };
        if token < seen {
            return Err(format!("the store has seen token {seen}, and refuses {token}").into());
        }
        self.written += 1;
        file.rewind()?;
        file.set_len(0)?;
        write!(file, "{token} {} {}", process::id(), self.written)?;
        Ok(())
    }
}

/// A thread that waits for signals may do anything, and needs no `unsafe`.
fn stop_on_signals() -> Result<CancelToken, Box<dyn Error>> {
    let stop = CancelToken::new()?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let token = stop.clone();
    thread::spawn(move || signals.forever().for_each(|_| token.cancel()));
    Ok(stop)
}
