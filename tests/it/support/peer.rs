//! Another process: this test binary run again, which carries out commands from a pipe, one a line.
//!
//! It answers every command with one line, so a test knows that it was carried out. Process-wide state (user,
//! umask, limits, children) is changed in a peer, never in the test process.

use std::env;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::support::commands::{ANSWER, OK, State, pass_on};
use crate::support::process::this_binary_again;
use crate::support::trace::wait_for;

const PATH_VARIABLE: &str = "PIDLOCKFILE_PEER_PATH";

pub struct Peer {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The thread that this process traces, if any: the peer cannot be reaped before it.
    pub traced_thread: Option<Pid>,
}

impl Peer {
    /// Starts a process that works on the lock file at `path`.
    pub fn at(path: &Path) -> Peer {
        let mut child = this_binary_again("support::peer::peer")
            .env(PATH_VARIABLE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Peer { child, commands, answers, traced_thread: None };
        assert_eq!(peer.answer(), "ready");
        peer
    }

    /// Starts a process whose kernel refuses these kinds of system calls.
    pub fn without(path: &Path, refused: &[&str]) -> Peer {
        let mut peer = Peer::at(path);
        for call in refused {
            peer.must(&format!("refuse {call}"));
        }
        peer
    }

    /// Starts a process that holds the lock at `path`.
    pub fn holding(path: &Path) -> Peer {
        let mut peer = Peer::at(path);
        peer.must("try_lock");
        peer
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.pid().cast_signed())
    }

    /// Gives it a command without waiting for the answer.
    pub fn tell(&mut self, command: &str) {
        pass_on(command, self.commands.as_mut().unwrap());
    }

    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let len = self.answers.read_line(&mut line).unwrap();
            assert_ne!(len, 0, "the peer ended before it answered");
            if let Some((_, answer)) = line.trim_end().split_once(ANSWER) {
                return answer.to_owned();
            }
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// Gives it a command that must succeed.
    #[track_caller]
    pub fn must(&mut self, command: &str) {
        assert_eq!(self.ask(command), OK, "{command}");
    }

    /// Gives it a command that must fail with this variant of [`Error`].
    #[track_caller]
    pub fn must_fail(&mut self, command: &str, variant: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with(&format!("{variant} {{")), "{command}: {answer}");
    }

    /// Closes its command pipe, on which it exits without dropping anything, and waits for that.
    pub fn end(&mut self) -> ExitStatus {
        self.commands = None;
        self.child.wait().unwrap()
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.reap().unwrap().signal(), Some(libc::SIGKILL));
    }

    /// Waits for the signal that another process has sent it, and reaps it.
    pub fn end_by_signal(&mut self) -> Option<i32> {
        self.reap().unwrap().signal()
    }

    /// Kills it with SIGKILL and leaves a zombie.
    pub fn kill_without_reaping(&mut self) {
        self.child.kill().unwrap();
        waitid(Id::Pid(self.nix_pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(thread) = self.traced_thread.take() {
            while matches!(
                wait_for(thread),
                Ok(WaitStatus::PtraceSyscall(_) | WaitStatus::Stopped(..))
            ) {}
        }
        self.child.wait()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.reap();
    }
}

#[test]
#[ignore = "not a test: what the other process runs"]
fn peer() {
    let path = env::var_os(PATH_VARIABLE).expect("only Peer::at runs this");
    State::new(path.as_ref()).obey(BufReader::new(io::stdin()))
}
