//! flock(1)'s job with a pid file: runs a command while holding a lock.
//!
//! `cargo run --example with_lock -- /tmp/demo.pid echo hello`

mod command;
mod waiting;

use std::error::Error as StdError;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::iter;
use std::path;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::{Arg, ValueExt as _};
use pidlockfile::retry::{CancelToken, GaveUp, RetryPolicy};
use pidlockfile::{LockGuard, Lockfile};

use crate::command::Signals;
use crate::waiting::Waiting;

const USAGE: &str = "\
usage: with_lock [-n | -w SECONDS] [-E CODE] PATH COMMAND [ARGUMENT…]

Runs COMMAND while holding the lock at PATH, and exits as COMMAND does.

  -n          fail at once if the lock is busy
  -w SECONDS  wait no longer than that; without -n and -w, wait until the lock is free
  -E CODE     the exit status if the lock could not be had in time, instead of 1

SIGTERM is passed on to COMMAND. If with_lock is killed, the kernel kills COMMAND too, on Linux; but not what
COMMAND has started itself, nor a set-user-ID program.

Exit status: COMMAND's; 128 + N if signal N ended it, or the wait; 126 or 127 if it cannot be run;
64 for wrong usage; 69 if there can be no lock at PATH.";

const BUSY: u8 = 1;
const WRONG_USAGE: u8 = 64;
const NO_LOCK_POSSIBLE: u8 = 69;

struct Job {
    policy: RetryPolicy,
    busy_status: u8,
    lockfile: Lockfile,
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let job = match Job::parse(lexopt::Parser::from_env()) {
        Ok(Some(job)) => job,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&*error);
            tell(USAGE);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    job.run().unwrap_or_else(|status| status).into()
}

impl Job {
    /// `None` if help is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Job>, Box<dyn StdError>> {
        let mut policy = RetryPolicy::daemon();
        let mut busy_status = BUSY;
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Short('n') => policy = RetryPolicy::none(),
                Arg::Short('w') => {
                    let limit = Duration::try_from_secs_f64(arguments.value()?.parse()?)?;
                    policy = RetryPolicy::default().with_max_elapsed(limit);
                }
                Arg::Short('E') => busy_status = arguments.value()?.parse()?,
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Value(path) => {
                    let lockfile = Lockfile::new(path::absolute(path)?)?;
                    // All that follows belongs to the command, its options included.
                    let command: Vec<OsString> = arguments.raw_args()?.collect();
                    if command.is_empty() {
                        return Err("there is no command".into());
                    }
                    return Ok(Some(Job { policy, busy_status, lockfile, command }));
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Err("there is no path".into())
    }

    fn run(&self) -> Result<u8, u8> {
        let token = CancelToken::new().map_err(|error| {
            complain(&error);
            NO_LOCK_POSSIBLE
        })?;
        let signals = Signals::cancelling(&token).map_err(|error| {
            complain(&error);
            NO_LOCK_POSSIBLE
        })?;
        let guard = self.acquire(&token).map_err(|status| signals.status().unwrap_or(status))?;
        let status = signals.run(&self.command);
        if let Err(error) = guard.unlock() {
            complain(&error);
        }
        Ok(status)
    }

    fn acquire(&self, token: &CancelToken) -> Result<LockGuard, u8> {
        let mut waiting = Waiting::default();
        let acquired = self
            .policy
            .run()
            .on_new_owner(|attempt| waiting.show(attempt))
            .cancel_on(token)
            .acquire(&self.lockfile);
        waiting.end();
        acquired.map_err(|error| {
            match (&error.last, error.reason) {
                // Of a single attempt, what it failed with is all there is to tell.
                (Some(last), GaveUp::Attempts) => complain(last),
                _ => complain(&error),
            }
            if error.is_permanent() { NO_LOCK_POSSIBLE } else { self.busy_status }
        })
    }
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
