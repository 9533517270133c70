//! Another process: this test binary run again, doing what it is told over a pipe, a line at a time.
//!
//! It answers every command with one line, so a test knows that it was carried out. What a process
//! has only one of (user, umask, limits, children) is changed in a peer, never in the test process.

use fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::{env, fs, io, panic, process, thread};

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, kill, raise, signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, fork, gettid, mkfifo, pipe, setgid, setgroups, setuid,
};
use pidlockfile::{Error, LockGuard, Lockfile};

use crate::exclusion::lock_spinning;
use crate::refuse::refuse;
use crate::trace::wait_for;

const PATH_VARIABLE: &str = "PIDLOCKFILE_PEER_PATH";
/// Tells the peer's answers from what the test harness prints around them.
const ANSWER: char = '\x1b';
const OK: &str = "ok";

pub struct Peer {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its thread that this process traces, if any: the peer cannot be reaped before that one is.
    pub traced_thread: Option<Pid>,
}

impl Peer {
    /// Starts a process that works on the lock file at `path`.
    pub fn at(path: &Path) -> Peer {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["peer::peer", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
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

    /// Gives it a command that must go well.
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

    /// Ends its commands, on which it exits without dropping anything, and waits for that.
    pub fn end(&mut self) -> ExitStatus {
        self.commands = None;
        self.child.wait().unwrap()
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.reap().unwrap().signal(), Some(libc::SIGKILL));
    }

    /// Waits for the signal that somebody has sent it, and reaps it.
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
    let mut state = State { lockfile: Lockfile::new(path).unwrap(), guard: None, child: None };
    answer("ready");
    state.obey(BufReader::new(io::stdin()));
}

/// In one write: who is traced and read half a line would be taken for carrying out the command.
fn pass_on(command: &str, pipe: &mut impl Write) {
    pipe.write_all(format!("{command}\n").as_bytes()).unwrap();
}

fn answer(text: &str) {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{ANSWER}{text}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// Exits without running any destructor.
fn exit_at_once() -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(0) }
}

struct State {
    lockfile: Lockfile,
    guard: Option<LockGuard>,
    /// A forked child, and where its commands go.
    child: Option<(Pid, File)>,
}

impl State {
    fn obey(&mut self, commands: impl BufRead) -> ! {
        for line in commands.lines() {
            let line = line.unwrap();
            match line.strip_prefix("child ") {
                // The child answers in our place.
                Some(command) => pass_on(command, &mut self.child.as_mut().unwrap().1),
                None if line == "traceme" => trace_me(),
                None if line == "stay" => stay(),
                None if line == "go_on_in_a_thread" => self.go_on_in_a_thread(),
                None => answer(&self.carry_out(&line)),
            }
        }
        exit_at_once()
    }

    #[expect(clippy::too_many_lines, reason = "a table of commands")]
    fn carry_out(&mut self, line: &str) -> String {
        let mut words = line.split(' ');
        let command = words.next().unwrap();
        let argument = words.next().unwrap_or_default();
        match command {
            "try_lock" => {
                return reply(self.lockfile.try_lock().map(|guard| self.guard = Some(guard)));
            }
            #[cfg(feature = "retry")]
            "acquire_with_retry" => {
                let policy = pidlockfile::retry::RetryPolicy::default();
                let acquired = pidlockfile::retry::acquire_with_retry(&self.lockfile, &policy);
                self.guard = Some(acquired.unwrap());
            }
            #[cfg(feature = "retry")]
            "wait_20_ms" => crate::cancel::wait_20_ms(),
            "cycle_beside_a_stranger" => return self.cycle_beside_a_stranger(),
            "verify" => return reply(self.guard.as_ref().unwrap().verify()),
            "adopt" => return reply(self.guard.as_mut().unwrap().adopt()),
            "unlock" => return reply(self.guard.take().unwrap().unlock()),
            "owner" => match self.lockfile.owner() {
                Ok(owner) => return format!("{owner:?}"),
                Err(error) => return reply(Err(error)),
            },
            "holder" => return crate::holder::answer(&self.lockfile),
            "holder_text" => return self.lockfile.holder().unwrap_err().to_string(),
            "kill_holder" => return crate::holder::kill(&self.lockfile),
            "signal_after_becoming" => {
                return crate::holder::wait::signal_after(&self.lockfile, || {
                    become_user(argument.parse().unwrap(), None);
                });
            }
            "crowd" => return crate::holder::crowd::be_a_crowd(&self.lockfile),
            "stop_all" => return crate::holder::crowd::stop_all(&self.lockfile),
            "ask_on" => return crate::holder::crowd::ask_on(&self.lockfile),
            "start_daemons" => {
                let cycles = argument.parse().unwrap();
                return crate::holder::crowd::start_daemons(&self.lockfile, cycles);
            }
            "take_turns" => {
                let (rounds, stale) = (argument.parse().unwrap(), words.next() == Some("stale"));
                return crate::holder::crowd::take_turns(&self.lockfile, rounds, stale);
            }
            "set_pid_max" => fs::write("/proc/sys/kernel/pid_max", argument).unwrap(),
            "ignore_sigterm" => {
                // SAFETY: SIG_IGN runs no code.
                unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.unwrap();
            }
            // As a daemon that calls execve(2) to start anew: it loses its descriptors, and keeps its pid.
            "exec_on_sigterm" => {
                // SAFETY: the handler makes one system call.
                unsafe { signal(Signal::SIGTERM, SigHandler::Handler(exec_sleep)) }.unwrap();
            }
            "wait_among_signals" => crate::holder::wait::wait_among_signals(&self.lockfile),
            "drop" => drop(self.guard.take().unwrap()),
            "panic" => self.panic_while_holding(),
            "count" => self.count(argument.parse().unwrap()),
            "kernel_lock_only" => self.lockfile = self.lockfile.clone().kernel_lock_only(),
            "mode" => self.lockfile = self.lockfile.clone().mode(octal(argument)),
            "pid" => return process::id().to_string(),
            // By the /proc that every peer has until it mounts its own: the host's.
            "pid_in_host" => {
                let own = fs::read_link("/proc/self").unwrap();
                return own.to_str().unwrap().to_owned();
            }
            "fork" => self.fork(),
            "pid_of_child" => return self.child.as_ref().unwrap().0.to_string(),
            "kill_child" => {
                let (pid, _) = self.child.take().unwrap();
                kill(pid, Signal::SIGKILL).unwrap();
                waitpid(pid, None).unwrap();
            }
            "end_child" => {
                let (pid, commands) = self.child.take().unwrap();
                drop(commands);
                waitpid(pid, None).unwrap();
            }
            "fork_in_a_thread_when_told" => fork_when_told(self.lockfile.path()),
            "park_a_thread" => return park_a_thread(),
            "umask" => drop(umask(Mode::from_bits_truncate(octal(argument)))),
            "become" => become_user(argument.parse().unwrap(), words.next()),
            // What the failing command would print, and whether another try may help.
            "text" => return self.lockfile.try_lock().unwrap_err().to_string(),
            "is_temporary" => {
                return self.lockfile.try_lock().unwrap_err().is_temporary().to_string();
            }
            "close_the_lock_file" => drop(take_descriptor_of(self.lockfile.path())),
            "reuse_the_lock_files_descriptor" => {
                let number = take_descriptor_of(self.lockfile.path()).into_raw_fd();
                nix::unistd::close(number).unwrap();
                let other = File::open("/dev/null").unwrap();
                assert_eq!(other.into_raw_fd(), number);
            }
            "limit_files" => {
                let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
                setrlimit(Resource::RLIMIT_NOFILE, argument.parse().unwrap(), hard).unwrap();
            }
            "limit_file_size" => {
                let limit = argument.parse().unwrap();
                // SAFETY: SIG_IGN runs no code.
                unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
                setrlimit(Resource::RLIMIT_FSIZE, limit, limit).unwrap();
            }
            "hide_proc" => hide_proc(),
            "enter_pid_namespace" => {
                unshare(CloneFlags::CLONE_NEWPID).unwrap();
                self.fork();
            }
            "join_pid_namespace" => {
                let namespace = File::open(format!("/proc/{argument}/ns/pid")).unwrap();
                setns(namespace, CloneFlags::CLONE_NEWPID).unwrap();
                self.fork();
            }
            "mount_proc" => mount_proc(argument),
            "lock_in_a_thread" => self.lock_in_a_thread(),
            "lock_for_reading" => crate::holder::lock_for_reading(self.lockfile.path(), argument),
            // As after execve(2).
            "be_dumpable" => nix::sys::prctl::set_dumpable(true).unwrap(),
            "open_for_writing" => {
                let file = File::options().write(true).open(self.lockfile.path()).unwrap();
                let _for_good = file.into_raw_fd();
            }
            "fork_with_pid" => {
                let pid: u32 = argument.parse().unwrap();
                fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
                self.fork();
                assert_eq!(self.child.as_ref().unwrap().0.as_raw().cast_unsigned(), pid);
            }
            "refuse" => refuse(argument),
            #[cfg(feature = "retry")]
            "wait" => self.guard = Some(crate::retry::long_wait(&self.lockfile, |_| ())),
            #[cfg(feature = "tokio")]
            "wait_async" => {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let policy = crate::retry::long_sleep();
                let guard = runtime.block_on(policy.run().acquire_async(&self.lockfile));
                self.guard = Some(guard.unwrap());
            }
            #[cfg(feature = "retry")]
            "wait_aloud" => {
                let aloud = |attempt: &pidlockfile::retry::Attempt<'_>| {
                    if attempt.number == 1 {
                        answer("waiting");
                    }
                };
                self.guard = Some(crate::retry::long_wait(&self.lockfile, aloud));
            }
            #[cfg(feature = "retry")]
            "wait_by_default" => {
                let policy = pidlockfile::retry::RetryPolicy::default();
                let guard = policy.run().on_wait(|_| answer("waiting")).acquire(&self.lockfile);
                self.guard = Some(guard.unwrap());
            }
            #[cfg(feature = "retry")]
            "wait_by_schedule" => {
                let policy = pidlockfile::retry::RetryPolicy::builder()
                    .wake_on_release(false)
                    .build()
                    .unwrap();
                let guard = policy.run().on_wait(|_| answer("waiting")).acquire(&self.lockfile);
                self.guard = Some(guard.unwrap());
            }
            _ => panic!("no such command: {line}"),
        }
        OK.to_owned()
    }

    /// Locks and unlocks in a thread with descriptors of its own, where the number of the lock file's
    /// descriptor is that of a stranger's file in the table of the first thread.
    fn cycle_beside_a_stranger(&self) -> String {
        let stranger = File::open(self.lockfile.path().with_file_name("stranger")).unwrap();
        let number = stranger.into_raw_fd();
        let cycle = || {
            unshare(CloneFlags::CLONE_FILES).unwrap();
            nix::unistd::close(number).unwrap();
            let guard = self.lockfile.try_lock()?;
            guard.verify()?;
            guard.unlock()
        };
        reply(thread::scope(|scope| scope.spawn(cycle).join().unwrap()))
    }

    /// Locks in a thread with descriptors of its own, which holds the lock for as long as the peer lives.
    fn lock_in_a_thread(&self) {
        let lockfile = self.lockfile.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_FILES).unwrap();
            let _guard = lockfile.try_lock().unwrap();
            sender.send(()).unwrap();
            loop {
                thread::park();
            }
        });
        receiver.recv().unwrap();
    }

    /// Adds to the number in a file as often as told, each time under the lock.
    fn count(&mut self, rounds: u32) {
        let file = self.lockfile.path().with_file_name("count");
        for _ in 0..rounds {
            let guard = lock_spinning(&self.lockfile);
            let count: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
            fs::write(&file, (count + 1).to_string()).unwrap();
            guard.unlock().unwrap();
        }
    }

    fn panic_while_holding(&mut self) {
        let guard = self.guard.take().unwrap();
        let result = panic::catch_unwind(move || {
            let _guard = guard;
            panic::resume_unwind(Box::new("while holding"));
        });
        assert!(result.is_err());
    }

    /// Forks a child with a copy of everything, which carries out the commands that start with `child`.
    fn fork(&mut self) {
        let (reader, writer) = pipe().unwrap();
        // SAFETY: the harness's thread, which the child lacks, only waits and holds no lock.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => self.child = Some((child, writer.into())),
            ForkResult::Child => {
                drop(writer);
                self.obey(BufReader::new(File::from(reader)))
            }
        }
    }

    /// Ends this thread, the first of a forked child; a second one goes on.
    fn go_on_in_a_thread(&mut self) -> ! {
        let mut state = State {
            lockfile: self.lockfile.clone(),
            guard: self.guard.take(),
            child: self.child.take(),
        };
        let first = gettid();
        thread::spawn(move || {
            let is_zombie = || {
                let stat = fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
                stat.contains(") Z ")
            };
            while !is_zombie() {
                thread::yield_now();
            }
            answer(OK);
            state.obey(BufReader::new(io::stdin()))
        });
        // SAFETY: the system call ends this thread and nothing else; its stack stays mapped.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        unreachable!()
    }
}

fn reply(result: Result<(), Error>) -> String {
    match result {
        Ok(()) => OK.to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).unwrap()
}

/// Lets the process that started this one trace it, and stops until it does.
fn trace_me() {
    match ptrace::traceme() {
        Ok(()) => {
            answer(&gettid().to_string());
            raise(Signal::SIGSTOP).unwrap();
        }
        Err(errno) => answer(errno.desc()),
    }
}

extern "C" fn exec_sleep(_: libc::c_int) {
    let (program, seconds) = (c"/bin/sleep".as_ptr(), c"1000".as_ptr());
    let arguments = [program, seconds, std::ptr::null()];
    // SAFETY: the strings and their list end in NUL.
    unsafe { libc::execv(program, arguments.as_ptr()) };
    exit_at_once()
}

/// Lives on when the commands end, until it is killed.
fn stay() -> ! {
    answer(OK);
    loop {
        thread::park();
    }
}

fn park_a_thread() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        sender.send(gettid()).unwrap();
        loop {
            thread::park();
        }
    });
    receiver.recv().unwrap().to_string()
}

/// Has another thread fork a child when the test opens a fifo; the child lives as long as the peer.
fn fork_when_told(path: &Path) {
    let (told, forked) = (path.with_extension("tell"), path.with_extension("forked"));
    let (ends_with_us, writer) = pipe().unwrap();
    mkfifo(&told, Mode::S_IRWXU).unwrap();
    mkfifo(&forked, Mode::S_IRWXU).unwrap();
    thread::spawn(move || {
        File::open(told).unwrap();
        // SAFETY: the child makes system calls only.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { .. } => {
                File::options().write(true).open(forked).unwrap();
                std::mem::forget(writer);
            }
            ForkResult::Child => {
                drop(writer);
                let _ = nix::unistd::read(ends_with_us, &mut [0]);
                exit_at_once()
            }
        }
    });
}

/// The descriptor that a guard has of the lock file, to do with what no careful program does.
fn take_descriptor_of(path: &Path) -> OwnedFd {
    let lock_file = fs::metadata(path).unwrap().ino();
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let number = entries
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|file| file.ino() == lock_file))
        .find_map(|entry| entry.file_name().to_str()?.parse().ok());
    // SAFETY: it breaks the guard, which is what is tested.
    unsafe { OwnedFd::from_raw_fd(number.unwrap()) }
}

fn become_user(id: u32, group: Option<&str>) {
    let group = group.map_or(id, |group| group.parse().unwrap());
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(group)).unwrap();
    setuid(Uid::from_raw(id)).unwrap();
}

fn hide_proc() {
    mount_for_itself("tmpfs", None);
}

/// Mounts a /proc of its own pid namespace.
fn mount_proc(options: &str) {
    mount_for_itself("proc", Some(options));
}

fn mount_for_itself(kind: &str, options: Option<&str>) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .unwrap();
    mount(Some(kind), "/proc", Some(kind), MsFlags::empty(), options).unwrap();
}
