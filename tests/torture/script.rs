//! A pid-only program: it writes its pid into a stale file that it finds, in place, as `echo $$ > FILE` does.
//!
//! It looks and writes under `flock -n`, so that its own races are not taken for ours. Then it frees the kernel
//! lock, and only its record shows that it owns the lock.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{self, Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::kill;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use crate::arena::Arena;
use crate::chance::{random, random_index};
use crate::witness::Witness;
use crate::worker::run_again;

const READY: &str = "ready to look";

/// Starts a script, and waits until it is about to look at the file.
pub fn start(arena: &Arena) -> Child {
    let mut child = run_again("script::script", arena).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with(READY)), "the script ended before it was ready");
    child
}

#[test]
#[ignore = "not a test: what a pid-only program in the fight runs"]
fn script() {
    let arena = Arena::of_this_process();
    let mut script = Script { witness: Witness::at(&arena), path: arena.lock_path() };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{READY}").unwrap();
    stdout.flush().unwrap();
    loop {
        if let Some(number) = script.take_over().unwrap() {
            script.own(number);
        }
        thread::sleep(Duration::from_micros(random(300)));
    }
}

struct Script {
    witness: Witness,
    path: PathBuf,
}

impl Script {
    /// Owns the lock from here on if the file is there, has no kernel lock and names no live process. Returns
    /// the number of the acquisition.
    fn take_over(&mut self) -> io::Result<Option<u64>> {
        let looked_at = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if looked_at.try_lock().is_err()
            || !self.is_named(&looked_at)?
            || self.recorded_pid().is_some_and(|pid| pid != process::id() && is_alive(pid))
        {
            return Ok(None);
        }
        self.write_pid()?;
        // The kernel lock is freed with `looked_at`, after the witness has been called.
        Ok(Some(self.witness.enter()))
    }

    fn is_named(&self, file: &File) -> io::Result<bool> {
        let named = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            named => named?,
        };
        let opened = file.metadata()?;
        Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino()))
    }

    fn recorded_pid(&self) -> Option<u32> {
        let record = fs::read_to_string(&self.path).unwrap_or_default();
        record.lines().next()?.trim().parse().ok()
    }

    /// Writes over the old content or truncates first, with records of several lengths.
    fn write_pid(&self) -> io::Result<()> {
        let pid = process::id();
        let truncate = random(2) == 0;
        let records = [format!("{pid}\n"), format!("{pid}\nstarted by hand\n"), pid.to_string()];
        // If the old record is longer, only a newline ends the pid.
        let record = &records[random_index(if truncate { 3 } else { 2 })];
        let mut file = File::options().write(true).truncate(truncate).open(&self.path)?;
        file.write_all(record.as_bytes())
    }

    /// Lives for a while, sometimes touches the file, and removes the file or ends and leaves it behind.
    fn own(&mut self, number: u64) {
        let file = File::open(&self.path).unwrap();
        for _ in 0..2 {
            thread::sleep(Duration::from_micros(random(2000)));
            if random(4) == 0 {
                futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).unwrap();
            }
        }
        let named = self.is_named(&file).unwrap();
        let recorded = self.recorded_pid();
        if !named || recorded != Some(process::id()) {
            self.witness.report_violation(&format!(
                "a script's file was taken: named {named}, recorded {recorded:?}"
            ));
        }
        self.witness.leave("script", number);
        if random(2) == 0 {
            fs::remove_file(&self.path).unwrap();
        } else {
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Like `kill -0` in a shell, but a process of another user counts as alive.
fn is_alive(pid: u32) -> bool {
    !matches!(kill(Pid::from_raw(pid.cast_signed()), None), Err(Errno::ESRCH))
}
