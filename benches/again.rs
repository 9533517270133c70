//! This program run again, to take its part in a bench as a process of its own.

use std::env;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Is told, and answers, a line at a time. Dropping this kills it.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// `part` is one of `PARTS` in main.rs.
    pub fn start(part: &str, words: &[&str]) -> Process {
        let mut command = Command::new(env::current_exe().unwrap());
        Process::spawn(command.arg(part).args(words))
    }

    /// Any program that is told and answers so.
    pub fn spawn(command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, input, answers }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
    }

    pub fn answer(&mut self) -> String {
        self.answers.next().expect("it ended").unwrap()
    }

    /// Ends its input, and waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        drop(self.input.take());
        self.child.wait().unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub fn cpu(&self) -> Duration {
        let pid = Pid::from_raw(self.pid().cast_signed());
        clock_getcpuclockid(pid).unwrap().now().unwrap().into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
