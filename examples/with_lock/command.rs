//! Running the command, beside us or in our place.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};

#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use crate::signals::Signals;

pub struct Ended {
    pub status: ExitStatus,
    /// The signal that ended it, if we got that too.
    pub received: Option<Signal>,
}

/// Runs the command, and passes on the signals that it does not get by itself.
pub fn run(command: &[OsString], signals: &Signals) -> io::Result<Ended> {
    let mut starting = prepare(command, signals);
    end_with_us(&mut starting);
    let mut child = starting.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut received = SigSet::empty();
    loop {
        let next = signals.next();
        if next.signal != Signal::SIGCHLD {
            received.add(next.signal);
            next.pass_on(pid);
        // It is reaped here and nowhere else, so no signal goes to a recycled pid.
        } else if let Some(status) = child.try_wait()? {
            let signal = status.signal().and_then(|signal| signal.try_into().ok());
            let received = signal.filter(|&signal| received.contains(signal));
            return Ok(Ended { status, received });
        }
    }
}

/// Becomes the command, which has our pid and keeps the lock; returns if that fails.
pub fn replace_this_process(command: &[OsString], lock: &Path, signals: &Signals) -> io::Error {
    match keep_open_across_exec(lock) {
        Ok(()) => prepare(command, signals).exec(),
        Err(error) => io::Error::other(format!("cannot hand the lock over: {error}")),
    }
}

fn prepare(command: &[OsString], signals: &Signals) -> Command {
    let mut starting = Command::new(&command[0]);
    starting.args(&command[1..]);
    let mask = signals.inherited_mask();
    // SAFETY: sigprocmask(2) is async-signal-safe.
    unsafe {
        starting.pre_exec(move || Ok(mask.thread_set_mask()?));
    }
    starting
}

/// Makes the kernel kill the command when we are killed: the lock is free from then on, and the command
/// must not run without it. Only the command itself, and no set-user-ID one: see prctl(2), `PR_SET_PDEATHSIG`.
fn end_with_us(starting: &mut Command) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let with_lock = Pid::this();
        // SAFETY: prctl(2) and getppid(2) are async-signal-safe.
        unsafe {
            starting.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                // Killed before that: nobody would kill us any more.
                if Pid::parent() == with_lock { Ok(()) } else { Err(Errno::ESRCH.into()) }
            });
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = starting;
}

/// Leaves the locked file open for the command: the kernel lock lasts until it is closed.
fn keep_open_across_exec(lock: &Path) -> io::Result<()> {
    let lock = fs::metadata(lock)?;
    let mut is_kept = false;
    for entry in fs::read_dir("/dev/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        let file = fs::metadata(entry.path());
        let is_lock = file.is_ok_and(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino()));
        if let Some(number) = number.filter(|_| is_lock) {
            // SAFETY: the guard keeps it open.
            let file = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            is_kept = true;
        }
    }
    if is_kept { Ok(()) } else { Err(io::Error::other("its file is not open")) }
}
