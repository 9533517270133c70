//! A daemon that forks into the background as daemon(7) says, and holds its lock all the time.
//!
//! `cargo run --example double_fork -- /tmp/double-fork.pid`, twice.
//!
//! The command ends when the daemon is ready, with status 0, or with status 1 and the reason.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use anyhow::bail;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use pidlockfile::retry::CancelToken;
use pidlockfile::{LockGuard, Lockfile};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What the daemon tells the command once it holds the lock; anything else is why it failed.
const READY: &str = "ready";

const WORK_INTERVAL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("double_fork: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns in three processes: the command, the child between, and in the end the daemon.
fn run() -> anyhow::Result<()> {
    let path = env::args_os().nth(1).unwrap_or_else(|| "/tmp/double-fork.pid".into());
    // A program that closes what it has inherited does so before this, or it closes the lock.
    let guard = Lockfile::new(path)?.try_lock()?;
    let (reader, writer) = io::pipe()?;
    // SAFETY: there is one thread, so no other holds a mutex that the child would wait for.
    // Threads, and a tokio runtime with them, start in the daemon.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => {
            drop(writer);
            waitpid(child, None)?;
            // Here the command's guard is dropped. If the daemon has adopted the lock, the file
            // stays; if it has failed before, the file goes.
            wait_until_ready(reader)
        }
        ForkResult::Child => {
            drop(reader);
            be_the_child_between(guard, writer)
        }
    }
}

fn wait_until_ready(mut daemon: PipeReader) -> anyhow::Result<()> {
    let mut message = String::new();
    daemon.read_to_string(&mut message)?;
    match message.as_str() {
        READY => Ok(()),
        "" => bail!("the daemon ended before it was ready"),
        failure => bail!("the daemon failed: {failure}"),
    }
}

/// Leaves the terminal, and forks once more: what leads no session never gets a terminal again.
fn be_the_child_between(guard: LockGuard, mut command: PipeWriter) -> anyhow::Result<()> {
    // SAFETY: as for the first fork.
    match setsid().and_then(|_| unsafe { fork() }) {
        Ok(ForkResult::Parent { .. }) => Ok(()), // to drop its copy of the guard frees nothing
        Ok(ForkResult::Child) => be_the_daemon(guard, command),
        Err(error) => Ok(write!(command, "{error}")?),
    }
}

fn be_the_daemon(mut guard: LockGuard, mut command: PipeWriter) -> anyhow::Result<()> {
    let stop = match prepare(&mut guard) {
        Ok(stop) => stop,
        Err(error) => return Ok(write!(command, "{error:#}")?),
    };
    command.write_all(READY.as_bytes())?;
    drop(command); // it waits for the end of the pipe
    // From here on standard error is /dev/null: a real daemon has a log.
    while !stop.wait_timeout(WORK_INTERVAL) {
        guard.verify()?;
    }
    Ok(guard.unlock()?)
}

/// All that can fail, for as long as there is somebody to tell.
fn prepare(guard: &mut LockGuard) -> anyhow::Result<CancelToken> {
    umask(Mode::empty());
    env::set_current_dir("/")?;
    // Before others can read our pid, and signal us by it.
    let stop = stop_on_signals()?;
    guard.adopt()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(stop)
}

fn stop_on_signals() -> anyhow::Result<CancelToken> {
    let stop = CancelToken::new()?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let token = stop.clone();
    thread::Builder::new().spawn(move || signals.forever().for_each(|_| token.cancel()))?;
    Ok(stop)
}
