//! Running the command, and what signals do before and meanwhile.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use pidlockfile::retry::CancelToken;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};

use crate::tell;

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const ENDED_BY_SIGNAL: u8 = 128;

/// SIGINT, SIGQUIT and SIGTERM: each ends the wait for the lock. Once the command runs, SIGTERM is
/// passed on to it. The other two come from the keyboard, which sends them to the command as well.
pub struct Signals {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    received: Option<i32>,
    command: Option<Pid>,
}

impl Signals {
    pub fn cancelling(token: &CancelToken) -> io::Result<Signals> {
        let mut incoming = signal_hook::iterator::Signals::new([SIGINT, SIGQUIT, SIGTERM])?;
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, token) = (Arc::clone(&state), token.clone());
        thread::spawn(move || {
            for signal in incoming.forever() {
                let mut state = lock(&shared);
                state.received = Some(signal);
                if let Some(pid) = state.command.filter(|_| signal == SIGTERM) {
                    let _ = kill(pid, Signal::SIGTERM);
                }
                drop(state);
                token.cancel();
            }
        });
        Ok(Signals { state })
    }

    /// The exit status that tells of the signal received, if any.
    pub fn status(&self) -> Option<u8> {
        lock(&self.state).received.and_then(ended_by)
    }

    /// Runs the command and returns the exit status to pass on.
    pub fn run(&self, command: &[OsString]) -> u8 {
        // Held until the command is known: a signal comes either before it starts or after that.
        let mut state = lock(&self.state);
        if let Some(status) = state.received.and_then(ended_by) {
            return status;
        }
        let mut child = match start(command) {
            Ok(child) => child,
            Err(error) => {
                tell(&format!("{}: {error}", command[0].display()));
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                return if is_missing { NOT_FOUND } else { NOT_EXECUTABLE };
            }
        };
        let pid = Pid::from_raw(child.id().cast_signed());
        state.command = Some(pid);
        drop(state);

        // It is reaped only after its pid is forgotten here: no signal goes to a recycled pid.
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR)
        {
        }
        lock(&self.state).command = None;
        exit_status(child.wait().expect("a child of ours that has ended can be reaped"))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended_by(signal: i32) -> Option<u8> {
    u8::try_from(signal).ok().map(|signal| ENDED_BY_SIGNAL.saturating_add(signal))
}

fn exit_status(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.or_else(|| status.signal().and_then(ended_by)).unwrap_or(ENDED_BY_SIGNAL)
}

/// Starts the command so that the kernel kills it when we are killed: the lock is free from then on,
/// and the command must not run without it. Only the command itself, and no set-user-ID one: see prctl(2),
/// `PR_SET_PDEATHSIG`.
fn start(command: &[OsString]) -> io::Result<Child> {
    let mut starting = Command::new(&command[0]);
    starting.args(&command[1..]);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let with_lock = Pid::this();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: prctl(2) and getppid(2) are async-signal-safe.
    unsafe {
        starting.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // Killed before that: nobody would kill us any more.
            if Pid::parent() == with_lock { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
    starting.spawn()
}
