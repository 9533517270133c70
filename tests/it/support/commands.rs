//! What a peer does on command: a table of commands for each subject.

mod ending;
mod itself;
mod locking;
mod proving;
mod recycling;
#[cfg(feature = "retry")]
mod waiting;

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::str::FromStr;

use nix::unistd::Pid;
use pidlockfile::{Error, LockGuard, Lockfile};

use crate::support::process::exit_at_once;

/// Marks the peer's answers among the output of the test harness.
pub const ANSWER: char = '\x1b';
pub const OK: &str = "ok";

/// A command's name, and what it does with its arguments.
type Command = (&'static str, Action);

enum Action {
    Does(fn(&mut State, &str)),
    Tries(fn(&mut State, &str) -> Result<(), Error>),
    Says(fn(&mut State, &str) -> String),
    /// Does not answer, or answers itself.
    Answers(fn(&mut State, &str)),
}

const TABLES: &[&[Command]] = &[
    locking::COMMANDS,
    itself::COMMANDS,
    ending::COMMANDS,
    proving::COMMANDS,
    recycling::COMMANDS,
    #[cfg(feature = "retry")]
    waiting::COMMANDS,
];

/// The state of a peer. Its forked children have a copy.
pub struct State {
    lockfile: Lockfile,
    guard: Option<LockGuard>,
    /// A forked child, and the pipe for its commands.
    child: Option<(Pid, File)>,
}

impl State {
    pub fn new(path: &Path) -> State {
        State { lockfile: Lockfile::new(path).unwrap(), guard: None, child: None }
    }

    /// Reports that it is ready, and carries out commands until they end.
    pub fn obey(&mut self, commands: impl BufRead) -> ! {
        answer("ready");
        self.go_on_with(commands)
    }

    fn go_on_with(&mut self, commands: impl BufRead) -> ! {
        for line in commands.lines() {
            self.carry_out(&line.unwrap());
        }
        exit_at_once(0)
    }

    fn carry_out(&mut self, line: &str) {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        let command = TABLES.iter().copied().flatten().find(|(name, _)| *name == word);
        match command.unwrap_or_else(|| panic!("no such command: {line}")).1 {
            Action::Does(act) => {
                act(self, argument);
                answer(OK);
            }
            Action::Tries(act) => match act(self, argument) {
                Ok(()) => answer(OK),
                Err(error) => answer(&format!("{error:?}")),
            },
            Action::Says(act) => answer(&act(self, argument)),
            Action::Answers(act) => act(self, argument),
        }
    }

    fn path(&self) -> &Path {
        self.lockfile.path()
    }

    fn guard(&mut self) -> &mut LockGuard {
        self.guard.as_mut().unwrap()
    }

    fn take_guard(&mut self) -> LockGuard {
        self.guard.take().unwrap()
    }
}

/// In one write: a tracer would take a line that is written in two for the end of the command.
pub fn pass_on(command: &str, pipe: &mut impl Write) {
    pipe.write_all(format!("{command}\n").as_bytes()).unwrap();
}

fn answer(text: &str) {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{ANSWER}{text}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

fn number<T: FromStr>(argument: &str) -> T {
    argument.parse().unwrap_or_else(|_| panic!("no number: {argument:?}"))
}
