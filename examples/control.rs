//! Shows who holds a lock, or stops that process, and never another one that got its pid.
//!
//! `control PATH status` prints the holder, how long it has held the lock, and its command line. The exit
//! status follows the LSB: 0 the lock is held, 1 nobody holds it but the file is there, 3 nobody holds it, 4
//! unknown.
//!
//! `control PATH stop [-w SECONDS] [-k]` sends SIGTERM and waits, 10 seconds by default, until the lock is free
//! or another process holds it; with `-k`, SIGKILL follows. Exit status: 0 if that succeeded, 1 if not.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use anyhow::{Context as _, bail};
use pidlockfile::{Holder, Lockfile};

const USAGE: &str = "usage: control PATH status\n       control PATH stop [-w SECONDS] [-k]";

/// How often `stop` checks whether a process that keeps running has released the lock.
const ASK_AGAIN: Duration = Duration::from_millis(50);

const NOT_KNOWN: u8 = 4;

struct Stop {
    patience: Duration,
    kill: bool,
}

enum Task {
    Status,
    Stop(Stop),
}

fn main() -> ExitCode {
    let (path, task) = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("control: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let lockfile = Lockfile::new(path);
    let done = lockfile.map_err(Into::into).and_then(|lockfile| match &task {
        Task::Status => status(&lockfile),
        Task::Stop(how) => stop(&lockfile, how),
    });
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("control: {error:#}"); // the cause too
            ExitCode::from(if matches!(task, Task::Status) { NOT_KNOWN } else { 1 })
        }
    }
}

fn arguments() -> anyhow::Result<(OsString, Task)> {
    use lexopt::prelude::*;
    let mut words = Vec::new();
    let mut how = Stop { patience: Duration::from_secs(10), kill: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('w') => how.patience = Duration::try_from_secs_f64(parser.value()?.parse()?)?,
            Short('k') => how.kill = true,
            Value(word) => words.push(word),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let [path, task] =
        <[OsString; 2]>::try_from(words).ok().context("PATH and a task are needed")?;
    match task.to_str() {
        Some("status") => Ok((path, Task::Status)),
        Some("stop") => Ok((path, Task::Stop(how))),
        _ => bail!("the task is `status` or `stop`"),
    }
}

fn status(lockfile: &Lockfile) -> anyhow::Result<u8> {
    let shown = lockfile.path().display();
    let Some(holder) = lockfile.holder()? else {
        let is_there = lockfile.path().symlink_metadata().is_ok();
        println!("nobody holds {shown}{}", if is_there { ", which a crash has left" } else { "" });
        return Ok(if is_there { 1 } else { 3 });
    };
    let pid = holder.pid();
    let command = command_line(pid).unwrap_or_default();
    // A process writes the lock file when it takes the lock.
    let since = fs::metadata(lockfile.path()).and_then(|file| file.modified());
    // What /proc shows for this number is true of the holder only if the holder still runs.
    if holder.wait(Some(Duration::ZERO))? {
        println!("process {pid}, which held {shown}, has ended just now");
        return Ok(NOT_KNOWN);
    }
    println!(
        "process {pid} holds {shown}{}: {command}",
        since.map(for_how_long).unwrap_or_default()
    );
    Ok(0)
}

fn command_line(pid: u32) -> io::Result<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline"))?;
    let words: Vec<_> = line.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    Ok(words.join(" ").trim_end().escape_debug().to_string())
}

fn for_how_long(since: SystemTime) -> String {
    let seconds = since.elapsed().unwrap_or_default().as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!(", for {days} d {hours:02}:{minutes:02}:{:02} h", seconds % 60)
}

fn stop(lockfile: &Lockfile, how: &Stop) -> anyhow::Result<u8> {
    let shown = lockfile.path().display();
    let Some(holder) = lockfile.holder()? else {
        println!("nobody holds {shown}");
        return Ok(0);
    };
    holder.terminate()?;
    println!("sent SIGTERM to process {}", holder.pid());
    let mut stopped = wait(lockfile, &holder, how.patience)?;
    if !stopped && how.kill {
        holder.kill()?;
        println!("sent SIGKILL to process {}", holder.pid());
        stopped = wait(lockfile, &holder, how.patience)?;
    }
    if !stopped {
        println!("process {} still holds {shown} after {:?}", holder.pid(), how.patience);
    }
    Ok(u8::from(!stopped))
}

/// Waits until the lock is free or another process holds it; `false` if the time is up first.
fn wait(lockfile: &Lockfile, holder: &Holder, patience: Duration) -> anyhow::Result<bool> {
    let started = Instant::now();
    let pid = holder.pid();
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let ended = holder.wait(Some(left.min(ASK_AGAIN)))?;
        let what_it_does = if ended { "has ended" } else { "still runs" };
        match lockfile.holder() {
            Ok(None) => println!("process {pid} {what_it_does}, and the lock is free"),
            Ok(Some(next)) if ended || next.pid() != pid => {
                println!("process {pid} {what_it_does}, and process {} holds the lock", next.pid());
            }
            // If it has ended, its child may end soon, too; if not, it may be about to end.
            Err(error) if left.is_zero() => return Err(error.into()),
            Ok(Some(_)) if left.is_zero() => return Ok(false),
            _ => {
                if ended {
                    std::thread::sleep(left.min(ASK_AGAIN));
                }
                continue;
            }
        }
        return Ok(true);
    }
}
