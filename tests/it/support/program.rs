//! A program that is no peer: it reads from us, and prints line by line.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

#[cfg(feature = "retry")]
use nix::sys::signal::Signal;

/// Dropping this kills it.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub fn start(command: &mut Command) -> Program {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { child, input, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.lines.next().expect("the program ended").unwrap()
    }

    /// The line that it prints after it has read this one.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        self.line()
    }

    #[cfg(feature = "retry")]
    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Ends its input and waits for its end. Returns the rest of its output, and its standard error if that is
    /// piped.
    pub fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        drop(self.input.take());
        let printed = self.lines.by_ref().map(Result::unwrap).collect();
        let mut complaint = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut complaint).unwrap();
        }
        (self.child.wait().unwrap(), printed, complaint)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
