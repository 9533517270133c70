//! Another process: this program run again, which does what it is told over a pipe and answers with the time.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::ways::{Held, Way};

const WAY_VARIABLE: &str = "HANDOFF_WAY";
const PATH_VARIABLE: &str = "HANDOFF_PATH";

pub const LOCK: &str = "lock";
pub const UNLOCK: &str = "unlock";
pub const TAKE_TURNS: &str = "take turns";

/// So often it takes the lock when it is told to take turns, and so long it keeps it.
const TURNS: u32 = 10;
const TURN: Duration = Duration::from_millis(1);

/// `CLOCK_MONOTONIC`, which all processes share.
pub fn now() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().unwrap().into()
}

/// As which way this process is run, if it is another one.
pub fn way() -> Option<Way> {
    let name = env::var(WAY_VARIABLE).ok()?;
    Way::ALL.into_iter().find(|way| way.name() == name)
}

/// What it runs: each line is one command.
pub fn obey(way: Way) {
    let path = PathBuf::from(env::var_os(PATH_VARIABLE).unwrap());
    let mut held: Option<Held> = None;
    for line in io::stdin().lines() {
        let time = match line.unwrap().as_str() {
            LOCK => {
                held = Some(way.lock(&path));
                now()
            }
            UNLOCK => {
                let released = now();
                held.take().unwrap().unlock();
                released
            }
            TAKE_TURNS => {
                for _ in 0..TURNS {
                    let held = way.lock(&path);
                    thread::sleep(TURN);
                    held.unlock();
                }
                now()
            }
            unknown => panic!("no such command: {unknown}"),
        };
        println!("{}", time.as_nanos());
    }
}

pub struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub fn new(way: Way, path: &Path) -> Process {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(WAY_VARIABLE, way.name())
            .env(PATH_VARIABLE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Process { child, commands, answers }
    }

    pub fn owning(way: Way, path: &Path) -> Process {
        let mut owner = Process::new(way, path);
        owner.tell(LOCK);
        owner.answer();
        owner
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    pub fn answer(&mut self) -> Duration {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        Duration::from_nanos(line.trim().parse().unwrap())
    }

    /// Kills it; when that was.
    pub fn kill(&mut self) -> Duration {
        let killed = now();
        self.child.kill().unwrap();
        killed
    }

    pub fn cpu(&self) -> Duration {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        clock_getcpuclockid(pid).unwrap().now().unwrap().into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
