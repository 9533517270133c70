//! flock(1)'s job with a pid file: runs a command while holding a lock.
//!
//! `cargo run --example with_lock -- /tmp/demo.pid echo hello`

mod command;
mod exit;
mod signals;
mod usage;
mod waiting;

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::iter;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;
use std::time::Instant;

use pidlockfile::LockGuard;
use pidlockfile::retry::{CancelToken, GaveUp};

use crate::signals::Signals;
use crate::usage::{Job, Request};
use crate::waiting::Waiting;

fn main() -> ExitCode {
    let status = match usage::parse(lexopt::Parser::from_env()) {
        Ok(Request::Print(text)) => {
            say(text);
            0
        }
        Ok(Request::Run(job)) => run(&job).unwrap_or_else(|status| status),
        Err(error) => {
            complain(&*error);
            let _ = writeln!(io::stderr(), "Try 'with_lock --help'.");
            exit::USAGE
        }
    };
    ExitCode::from(status)
}

fn run(job: &Job) -> Result<u8, u8> {
    let signals = Signals::block().map_err(|error| no_resources(&error))?;
    let started = Instant::now();
    let guard = acquire(job, &signals)?;
    if job.verbose {
        let seconds = started.elapsed().as_secs_f64();
        say(&format!("with_lock: getting lock took {seconds:.6} seconds"));
        say(&format!("with_lock: executing {}", job.command[0].display()));
    }
    let ended = if job.no_fork {
        Err(command::replace_this_process(&job.command, guard.path(), &signals))
    } else {
        command::run(&job.command, &signals)
    };
    if let Err(error) = guard.unlock() {
        complain(&error);
    }
    let ended = ended.map_err(|error| {
        tell(&format!("cannot run {}: {error}", job.command[0].display()));
        exit::of_a_command_that_cannot_run(&error)
    })?;
    // A shell that runs a loop stops at ^C only if it sees that the signal ended us.
    if let Some(signal) = ended.received {
        signals.end_by(signal);
    }
    Ok(exit::of_command(ended.status.code(), ended.status.signal()))
}

fn acquire(job: &Job, signals: &Signals) -> Result<LockGuard, u8> {
    let token = CancelToken::new().map_err(|error| no_resources(&error))?;
    let mut waiting = Waiting::new();
    let attempts = job.policy.run().on_new_owner(|attempt| {
        if !job.quiet {
            waiting.show(attempt);
        }
    });
    let (acquired, signal) = signals
        .cancelling(&token, || attempts.cancel_on(&token).acquire(&job.lockfile))
        .map_err(|error| no_resources(&error))?;
    waiting.end();
    if let Some(signal) = signal {
        drop(acquired);
        signals.end_by(signal);
        return Err(exit::of_signal(signal as i32));
    }
    acquired.map_err(|error| {
        match (&error.last, error.reason) {
            _ if job.quiet && error.is_busy() => {}
            // Of a single attempt, what it failed with is all there is to tell.
            (Some(last), GaveUp::Attempts) => complain(last),
            _ => complain(&error),
        }
        match &error.last {
            Some(last) if error.is_permanent() => exit::of_error(last),
            _ => job.conflict_status,
        }
    })
}

fn no_resources(error: &dyn StdError) -> u8 {
    complain(error);
    exit::OS_ERROR
}

/// Prints an error and what caused it in one line.
fn complain(error: &dyn StdError) {
    let causes = iter::successors(Some(error), |&error| error.source());
    tell(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
}

/// Prints a line on standard error. Unlike `eprintln!` it does not panic if nobody listens: the command
/// must run, and the lock be released, all the same.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "with_lock: {text}");
}

/// Prints a line on standard output, if somebody listens.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
