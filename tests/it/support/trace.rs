//! Stops a peer before any system call of a command, by ptrace(2), so that a test can choose the schedule.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::peer::Peer;

/// A peer whose system calls are traced.
///
/// Only the thread that started the peer may trace it, so a test does everything in its own thread.
pub struct Traced {
    pub peer: Peer,
    thread: Pid,
}

/// A system call that the peer is about to make.
pub struct Call {
    thread: Pid,
    pub number: i64,
    arguments: [u64; 6],
}

impl Traced {
    /// Takes control of a peer; `None` where tracing is forbidden.
    pub fn new(mut peer: Peer) -> Option<Traced> {
        let thread = peer.ask("traceme").parse().ok().map(Pid::from_raw)?;
        peer.traced_thread = Some(thread);
        Some(Traced::stopped(peer, thread))
    }

    /// Takes control of a peer, gives it a command, and stops it before the first system call of this kind.
    pub fn before(peer: Peer, command: &str, number: i64) -> Option<Traced> {
        let mut traced = Traced::new(peer)?;
        assert!(traced.run_to(command, |call| call.number == number), "there is none");
        Some(traced)
    }

    /// Takes control of the child that a peer has forked; `None` where tracing is forbidden.
    pub fn child_of(mut peer: Peer) -> Option<Traced> {
        let child = Pid::from_raw(peer.ask("pid_of_child").parse().unwrap());
        ptrace::attach(child).ok()?;
        Some(Traced::stopped(peer, child))
    }

    fn stopped(peer: Peer, thread: Pid) -> Traced {
        assert_eq!(wait_for(thread), Ok(WaitStatus::Stopped(thread, Signal::SIGSTOP)));
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(thread, options).unwrap();
        Traced { peer, thread }
    }

    /// Gives the peer a command, and stops it before the first system call that satisfies `here`. If there is
    /// none, it is stopped before its answer, and this returns `false`.
    pub fn run_to(&mut self, command: &str, here: impl FnMut(&Call) -> bool) -> bool {
        self.peer.tell(command);
        // A read that was interrupted, for instance by our attaching, is entered again.
        while !(self.next_call().reads_a_command() && self.result_of_call() > 0) {}
        self.run_on_to(here)
    }

    /// Continues as [`run_to`](Self::run_to) does.
    pub fn run_on_to(&mut self, mut here: impl FnMut(&Call) -> bool) -> bool {
        loop {
            let call = self.next_call();
            if call.writes_an_answer() {
                return false;
            }
            if !call.is_noise() && here(&call) {
                return true;
            }
        }
    }

    /// As [`run_to`](Self::run_to), to the system call with this index.
    pub fn run_to_nth(&mut self, command: &str, nth: usize) -> bool {
        let mut index = 0;
        self.run_to(command, |_| {
            index += 1;
            index == nth + 1
        })
    }

    /// Gives the peer a command and lists the system calls that it makes for it.
    pub fn calls(&mut self, command: &str) -> Vec<i64> {
        let mut calls = Vec::new();
        self.run_to(command, |call| {
            calls.push(call.number);
            true
        });
        calls.append(&mut self.rest_of_calls());
        calls
    }

    /// Lists the system calls that the peer makes from here to its answer.
    pub fn rest_of_calls(&mut self) -> Vec<i64> {
        let mut calls = Vec::new();
        self.run_on_to(|call| {
            calls.push(call.number);
            false
        });
        calls
    }

    pub fn child_pid(&self) -> u32 {
        self.thread.as_raw().cast_unsigned()
    }

    /// Kills a child, and lets the peer that forked it reap it.
    pub fn kill_child(mut self) -> Peer {
        kill(self.thread, Signal::SIGKILL).unwrap();
        assert!(matches!(wait_for(self.thread), Ok(WaitStatus::Signaled(..))));
        self.peer.must("end_child");
        self.peer
    }

    /// Lets the peer go.
    pub fn go_on(mut self) -> Peer {
        ptrace::detach(self.thread, None).unwrap();
        self.peer.traced_thread = None;
        self.peer
    }

    /// Makes the call at which the peer is stopped fail with `errno`.
    #[cfg(target_arch = "x86_64")]
    pub fn fail(&mut self, errno: Errno) {
        let mut registers = ptrace::getregs(self.thread).unwrap();
        registers.orig_rax = u64::MAX; // no call has this number
        ptrace::setregs(self.thread, registers).unwrap();
        self.report(errno);
    }

    /// Lets the call at which the peer is stopped succeed, and reports `errno` for it all the same.
    #[cfg(target_arch = "x86_64")]
    pub fn report(&mut self, errno: Errno) {
        ptrace::syscall(self.thread, None).unwrap();
        assert_eq!(wait_for(self.thread), Ok(WaitStatus::PtraceSyscall(self.thread)));
        let mut registers = ptrace::getregs(self.thread).unwrap();
        registers.rax = i64::from(-(errno as i32)).cast_unsigned();
        ptrace::setregs(self.thread, registers).unwrap();
    }

    fn next_call(&mut self) -> Call {
        loop {
            let info = self.next_stop();
            if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
                // SAFETY: `op` says that this is the union's field.
                let entry = unsafe { info.u.entry };
                let number = entry.nr.cast_signed();
                return Call { thread: self.thread, number, arguments: entry.args };
            }
        }
    }

    /// Lets the call at which the peer is stopped happen.
    fn result_of_call(&mut self) -> i64 {
        let info = self.next_stop();
        assert_eq!(info.op, libc::PTRACE_SYSCALL_INFO_EXIT);
        // SAFETY: `op` says that this is the union's field.
        unsafe { info.u.exit.sval }
    }

    /// Lets the read(2) at which the peer is stopped happen, and changes what it has read.
    #[cfg(target_arch = "x86_64")]
    pub fn change_what_is_read(&mut self, change: impl FnOnce(&mut [u8])) {
        let len = usize::try_from(self.result_of_call()).unwrap();
        let buffer = ptrace::getregs(self.thread).unwrap().rsi;
        let words: Vec<_> = (buffer..).step_by(8).take(len.div_ceil(8)).collect();
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|&word| ptrace::read(self.thread, word as _).unwrap().to_ne_bytes())
            .collect();
        change(&mut bytes[..len]);
        for (&word, bytes) in words.iter().zip(bytes.chunks_exact(8)) {
            let value = i64::from_ne_bytes(bytes.try_into().unwrap());
            ptrace::write(self.thread, word as _, value).unwrap();
        }
    }

    /// The next entry to a system call, or exit from one.
    fn next_stop(&mut self) -> libc::ptrace_syscall_info {
        let mut pending = None;
        loop {
            ptrace::syscall(self.thread, pending.take()).unwrap();
            match wait_for(self.thread).unwrap() {
                WaitStatus::PtraceSyscall(_) => return ptrace::syscall_info(self.thread).unwrap(),
                WaitStatus::Stopped(_, signal) => pending = Some(signal),
                ended => panic!("the traced peer ended: {ended:?}"),
            }
        }
    }
}

impl Call {
    pub fn argument(&self, index: usize) -> u64 {
        self.arguments[index]
    }

    /// The path that this argument points to.
    #[cfg(target_arch = "x86_64")]
    pub fn path(&self, index: usize) -> String {
        let word = |offset| {
            let address = self.argument(index) + offset;
            ptrace::read(self.thread, address as ptrace::AddressType).unwrap().to_ne_bytes()
        };
        let bytes = (0..).step_by(8).flat_map(word).take_while(|&byte| byte != 0).collect();
        String::from_utf8(bytes).unwrap()
    }

    /// The timespec that this argument points to.
    #[cfg_attr(not(feature = "retry"), expect(dead_code, reason = "only a waiter passes one"))]
    pub fn timespec(&self, index: usize) -> Duration {
        let word = |offset| {
            let address = self.argument(index) + offset;
            u64::try_from(ptrace::read(self.thread, address as ptrace::AddressType).unwrap())
                .unwrap()
        };
        Duration::from_secs(word(0)) + Duration::from_nanos(word(8))
    }

    /// Whether this is the open(2) that creates the lock file under its name.
    pub fn creates_exclusively(&self) -> bool {
        self.number == libc::SYS_openat && self.argument(2) & libc::O_EXCL as u64 != 0
    }

    fn reads_a_command(&self) -> bool {
        self.number == libc::SYS_read
    }

    fn writes_an_answer(&self) -> bool {
        self.number == libc::SYS_write && self.argument(0) == 1
    }

    /// The allocator's calls, and the check that a debug build makes of each descriptor it closes.
    fn is_noise(&self) -> bool {
        [libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap].contains(&self.number)
            || self.number == libc::SYS_fcntl && self.argument(1) == libc::F_GETFD as u64
    }
}

/// Waits for a change of state of a traced thread, which need not be the first of its process.
pub fn wait_for(thread: Pid) -> nix::Result<WaitStatus> {
    waitpid(thread, Some(WaitPidFlag::__WALL))
}

/// Unwraps, or skips the test where tracing is forbidden.
macro_rules! require_traced {
    ($traced:expr) => {{
        let traced = $traced;
        $crate::support::sandbox::require!(traced.is_some(), "tracing is forbidden");
        traced.unwrap()
    }};
}
pub(crate) use require_traced;
