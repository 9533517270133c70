//! The end of a process: a peer's child, the holder, or the peer itself.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction, signal};
use nix::sys::wait::waitpid;
use pidlockfile::{Error, Lockfile};

use crate::support::commands::Action::{Does, Tries};
use crate::support::commands::itself::become_user;
use crate::support::commands::{Command, State};
use crate::support::process::exit_at_once;
use crate::support::sandbox::holder;

pub const COMMANDS: &[Command] = &[
    ("kill_child", Does(|peer, _| kill_child(peer))),
    ("end_child", Does(|peer, _| end_child(peer))),
    ("ignore_sigterm", Does(|_, _| handle_sigterm(SigHandler::SigIgn))),
    // Like a daemon that calls execve(2) to restart: it loses its descriptors, and keeps its pid.
    ("exec_on_sigterm", Does(|_, _| handle_sigterm(SigHandler::Handler(exec_sleep)))),
    ("signal_after_becoming", Tries(|peer, user| signal_after_becoming(&peer.lockfile, user))),
    ("wait_among_signals", Does(|peer, _| wait_among_signals(&peer.lockfile))),
];

fn kill_child(peer: &mut State) {
    let (pid, _) = peer.child.take().unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    waitpid(pid, None).unwrap();
}

fn end_child(peer: &mut State) {
    let (pid, commands) = peer.child.take().unwrap();
    drop(commands);
    waitpid(pid, None).unwrap();
}

fn handle_sigterm(handler: SigHandler) {
    // SAFETY: SIG_IGN runs no code, and the handler makes one system call.
    unsafe { signal(Signal::SIGTERM, handler) }.unwrap();
}

extern "C" fn exec_sleep(_: libc::c_int) {
    let (program, seconds) = (c"/bin/sleep".as_ptr(), c"1000".as_ptr());
    let arguments = [program, seconds, ptr::null()];
    // SAFETY: the strings and their list end in NUL.
    unsafe { libc::execv(program, arguments.as_ptr()) };
    exit_at_once(0)
}

/// Finds the holder with all privileges, and signals it with the user's.
fn signal_after_becoming(lockfile: &Lockfile, user: &str) -> Result<(), Error> {
    let holder = holder(lockfile);
    become_user(user);
    holder.terminate()
}

/// Waits for the holder while this thread receives signals.
fn wait_among_signals(lockfile: &Lockfile) {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler adds to a number.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let (waiter, over) = (pthread_self(), AtomicBool::new(false));
    let limit = Duration::from_millis(100);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                pthread_kill(waiter, Signal::SIGUSR1).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let started = Instant::now();
        let ended = holder(lockfile).wait(Some(limit));
        let elapsed = started.elapsed();
        over.store(true, Ordering::SeqCst);
        assert!(!ended.unwrap());
        assert!(elapsed >= limit);
        assert!(HANDLED.load(Ordering::SeqCst) > 0);
    });
}
