//! Another process: this test binary run again, doing what it is told over a pipe, a line at a time.
//!
//! It answers every command with one line, so a test knows that it was carried out.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, process};

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe};
use pidlockfile::etcd::{EtcdError, EtcdGuard, EtcdLock};

use super::locks::{lock_by, patient};
use super::server::is_stopped;
use super::store::Store;
use super::wait::until;

const ENDPOINTS: &str = "ETCD_PEER_ENDPOINTS";
const NAME: &str = "ETCD_PEER_NAME";
const TTL: &str = "ETCD_PEER_TTL";
/// Tells the peer's answers from what the test harness prints around them.
const ANSWER: char = '\x1b';
const OK: &str = "ok";

pub struct Peer {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Runs an ignored test of this binary as a process of its own, with the lock that it is to work on.
pub fn run_again(test: &str, endpoints: &[String], name: &str, ttl: Duration) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ENDPOINTS, endpoints.join(","))
        .env(NAME, name)
        .env(TTL, ttl.as_secs().to_string());
    command
}

/// The lock of a process that [`run_again`] has started.
pub fn lock_of_this_process() -> EtcdLock {
    // It ends with the test, however that ends.
    set_pdeathsig(Signal::SIGKILL).unwrap();
    let endpoints = env::var(ENDPOINTS).expect("only run_again runs this");
    let endpoints: Vec<_> = endpoints.split(',').map(str::to_owned).collect();
    let ttl = Duration::from_secs(env::var(TTL).unwrap().parse().unwrap());
    lock_by(&endpoints, &env::var(NAME).unwrap()).ttl(ttl)
}

impl Peer {
    pub fn start(endpoint: &str, name: &str, ttl: Duration) -> Peer {
        Peer::start_by(&[endpoint.to_owned()], name, ttl)
    }

    pub fn start_by(endpoints: &[String], name: &str, ttl: Duration) -> Peer {
        let mut child = run_again("support::peer::peer", endpoints, name, ttl)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Peer { child, commands, answers };
        assert_eq!(peer.answer(), "ready");
        peer
    }

    pub fn holding(endpoint: &str, name: &str, ttl: Duration) -> Peer {
        let mut peer = Peer::start(endpoint, name, ttl);
        peer.must("try_lock");
        peer
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a command without waiting for the answer.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
    }

    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.answers.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "the peer ended before it answered");
            if let Some((_, answer)) = line.trim_end().split_once(ANSWER) {
                return answer.to_owned();
            }
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    #[track_caller]
    pub fn must(&mut self, command: &str) {
        assert_eq!(self.ask(command), OK, "{command}");
    }

    #[track_caller]
    pub fn must_answer(&mut self) {
        assert_eq!(self.answer(), OK);
    }

    pub fn token(&mut self) -> u64 {
        self.ask("token").parse().unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    /// All its threads stand still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let stat = PathBuf::from(format!("/proc/{}/stat", self.pid()));
        until("the peer is stopped", || is_stopped(&stat));
    }

    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "not a test: what the other process runs"]
fn peer() {
    let mut state = State { lock: lock_of_this_process(), guard: None, child: None };
    answer("ready");
    state.obey(BufReader::new(io::stdin()));
}

fn answer(text: &str) {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{ANSWER}{text}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

fn reply<E: ToString>(result: Result<(), E>) -> String {
    result.map_or_else(|error| error.to_string(), |()| OK.to_owned())
}

/// Exits without running any destructor.
fn exit_at_once() -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(0) }
}

struct State {
    lock: EtcdLock,
    guard: Option<EtcdGuard>,
    /// A forked child, and where its commands go.
    child: Option<(Pid, File)>,
}

impl State {
    fn obey(&mut self, commands: impl BufRead) -> ! {
        for line in commands.lines() {
            let line = line.unwrap();
            match line.strip_prefix("child ") {
                // The child answers in our place.
                Some(command) => writeln!(self.child.as_mut().unwrap().1, "{command}").unwrap(),
                None => answer(&self.carry_out(&line)),
            }
        }
        exit_at_once()
    }

    fn carry_out(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "try_lock" => return self.take(self.lock.try_lock()),
            "acquire" => {
                self.guard = Some(patient().run().acquire(&self.lock).unwrap());
            }
            "threads" => return fs::read_dir("/proc/self/task").unwrap().count().to_string(),
            "drop" => drop(self.guard.take().unwrap()),
            "unlock" => return reply(self.guard.take().unwrap().unlock()),
            "verify" => return reply(self.guard().verify()),
            "token" => return self.guard().fencing_token().to_string(),
            "key" => return self.guard().key().to_owned(),
            "is_lost" => return self.guard().is_lost().to_string(),
            "is_told" => return self.guard().lost().is_cancelled().to_string(),
            // Answers at the moment at which it knows.
            "wait_for_loss" => until("the guard knows that it is lost", || self.guard().is_lost()),
            "write" => {
                let token = self.guard().fencing_token();
                let is_taken = Store::at(argument).write(token, process::id()).unwrap();
                return if is_taken { OK.to_owned() } else { "late".to_owned() };
            }
            "fork" => self.fork(),
            "end_child" => {
                let (pid, commands) = self.child.take().unwrap();
                drop(commands);
                waitpid(pid, None).unwrap();
            }
            _ => panic!("no such command: {line}"),
        }
        OK.to_owned()
    }

    fn guard(&self) -> &EtcdGuard {
        self.guard.as_ref().unwrap()
    }

    fn take(&mut self, result: Result<EtcdGuard, EtcdError>) -> String {
        reply(result.map(|guard| self.guard = Some(guard)))
    }

    fn fork(&mut self) {
        let (reader, writer) = pipe().unwrap();
        // SAFETY: the child does what any Rust program does after a fork of a process with threads: its
        // allocator works, the crate's own locks are what is tested.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => self.child = Some((child, File::from(writer))),
            ForkResult::Child => {
                drop(writer);
                self.obey(BufReader::new(File::from(reader)))
            }
        }
    }
}
