//! The signals that end the wait for the lock, and that are passed on to the command once it runs.
//!
//! No handler is installed. All threads block the signals, and one thread at a time asks for the next: so none
//! is lost between the wait, the start of the command and its end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, raise, signal};
#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgid, getpgrp, getsid};
use pidlockfile::retry::CancelToken;

const PASSED_ON: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

pub struct Signals {
    /// SIGCHLD, and those of the six that were neither ignored nor blocked when we were started: nohup(1) and
    /// shells that start a job in the background want such a signal to stay without effect.
    awaited: SigSet,
    inherited_mask: SigSet,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    queue: SignalFd,
}

/// A signal that this process got.
pub struct Received {
    pub signal: Signal,
    is_from_terminal: bool,
}

impl Received {
    /// Passes it on to the command, unless the terminal has sent it to both: to all of its foreground job.
    pub fn pass_on(&self, command: Pid) {
        let is_of_our_job = getpgid(Some(command)) == Ok(getpgrp());
        // The kernel tells a hang-up to the leader of the session only.
        let is_for_us_alone = self.signal == Signal::SIGHUP && getsid(None) == Ok(Pid::this());
        if !self.is_from_terminal || !is_of_our_job || is_for_us_alone {
            let _ = kill(command, self.signal);
        }
    }
}

impl Signals {
    /// Blocks the signals, before there are other threads.
    pub fn block() -> nix::Result<Signals> {
        let inherited_mask = SigSet::thread_get_mask()?;
        let mut awaited = SigSet::from_iter(PASSED_ON);
        awaited.add(Signal::SIGCHLD);
        // Before `is_ignored`, which changes for a moment what they do.
        awaited.thread_block()?;
        // Where SIGCHLD is ignored, the kernel reaps the command, and its exit status is lost.
        set(Signal::SIGCHLD, SigHandler::SigDfl)?;
        for signal in PASSED_ON {
            if inherited_mask.contains(signal) || is_ignored(signal)? {
                awaited.remove(signal);
            }
        }
        let mut mask = inherited_mask;
        mask.extend(&awaited);
        mask.thread_set_mask()?;
        Ok(Signals {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            queue: SignalFd::with_flags(&awaited, SfdFlags::SFD_CLOEXEC)?,
            awaited,
            inherited_mask,
        })
    }

    /// The mask that the command is to have.
    pub fn inherited_mask(&self) -> SigSet {
        self.inherited_mask
    }

    /// Runs `wait`, cancels it at the first signal, and returns that signal too.
    pub fn cancelling<T>(
        &self,
        token: &CancelToken,
        wait: impl FnOnce() -> T,
    ) -> io::Result<(T, Option<Signal>)> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let first_signal = thread::Builder::new().spawn_scoped(scope, || {
                loop {
                    let signal = self.next().signal;
                    if signal != Signal::SIGCHLD {
                        token.cancel();
                        return Some(signal);
                    }
                    if is_over.load(Ordering::SeqCst) {
                        return None;
                    }
                }
            })?;
            let outcome = wait();
            is_over.store(true, Ordering::SeqCst);
            kill(Pid::this(), Signal::SIGCHLD)?;
            Ok((outcome, first_signal.join().expect("the thread does not panic")))
        })
    }

    /// Waits for the next signal.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn next(&self) -> Received {
        loop {
            if let Ok(Some(info)) = self.queue.read_signal()
                && let Some(signal) =
                    self.awaited.iter().find(|&signal| info.ssi_signo == signal as u32)
            {
                // What a process sends has a code of zero or less.
                return Received { signal, is_from_terminal: info.ssi_code > 0 };
            }
        }
    }

    /// Waits for the next signal.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn next(&self) -> Received {
        loop {
            if let Ok(signal) = self.awaited.wait() {
                let is_from_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
                return Received { signal, is_from_terminal };
            }
        }
    }

    /// Ends this process by a signal that it has got, as if it had not been blocked.
    pub fn end_by(&self, signal: Signal) {
        let _ = raise(signal);
        let _ = self.inherited_mask.thread_set_mask();
    }
}

fn is_ignored(signal: Signal) -> nix::Result<bool> {
    let is_ignored = matches!(set(signal, SigHandler::SigDfl)?, SigHandler::SigIgn);
    if is_ignored {
        set(signal, SigHandler::SigIgn)?;
    }
    Ok(is_ignored)
}

fn set(which: Signal, handler: SigHandler) -> Result<SigHandler, Errno> {
    // SAFETY: no function of ours is ever a handler.
    unsafe { signal(which, handler) }
}
