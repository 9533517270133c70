//! What a peer does to itself: its forks and threads, its user, its limits, its view of the system.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::mpsc;
use std::{process, thread};

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_dumpable;
use nix::sys::ptrace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Gid, Uid, fork, gettid, mkfifo, pipe, setgid, setgroups, setuid};

use crate::support::commands::Action::{Answers, Does, Says};
use crate::support::commands::locking::octal;
use crate::support::commands::{Command, OK, State, answer, number, pass_on};
use crate::support::process::{await_state, exit_at_once};
use crate::support::refuse::refuse;

pub const COMMANDS: &[Command] = &[
    ("pid", Says(|_, _| process::id().to_string())),
    ("pid_in_host", Says(|_, _| pid_in_host())),
    ("traceme", Answers(|_, _| trace_me())),
    ("refuse", Does(|_, call| refuse(call))),
    // The child answers instead of us.
    ("child", Answers(|peer, line| pass_on(line, &mut peer.child.as_mut().unwrap().1))),
    ("fork", Does(|peer, _| fork_a_child(peer))),
    ("fork_with_pid", Does(|peer, pid| fork_with_pid(peer, number(pid)))),
    ("fork_in_a_thread_when_told", Does(|peer, _| fork_when_told(peer.path()))),
    ("pid_of_child", Says(|peer, _| peer.child.as_ref().unwrap().0.to_string())),
    ("stay", Answers(|_, _| stay())),
    ("go_on_in_a_thread", Answers(|peer, _| go_on_in_a_thread(peer))),
    ("park_a_thread", Says(|_, _| park_a_thread())),
    ("become", Does(|_, user| become_user(user))),
    ("umask", Does(|_, mask| _ = umask(Mode::from_bits_truncate(octal(mask))))),
    ("be_dumpable", Does(|_, _| set_dumpable(true).unwrap())), // as after execve(2)
    ("limit_files", Does(|_, limit| limit_files(number(limit)))),
    ("limit_file_size", Does(|_, limit| limit_file_size(number(limit)))),
    ("hide_proc", Does(|_, _| mount_for_itself("tmpfs", None))),
    // The /proc of its own pid namespace.
    ("mount_proc", Does(|_, options| mount_for_itself("proc", Some(options)))),
    ("enter_pid_namespace", Does(|peer, _| enter_pid_namespace(peer))),
    ("join_pid_namespace", Does(join_pid_namespace)),
    ("set_pid_max", Does(|_, max| fs::write("/proc/sys/kernel/pid_max", max).unwrap())),
];

/// Through the host's /proc, which every peer has until it mounts its own.
fn pid_in_host() -> String {
    fs::read_link("/proc/self").unwrap().to_str().unwrap().to_owned()
}

/// Allows the process that started this one to trace it, and stops until it does.
fn trace_me() {
    match ptrace::traceme() {
        Ok(()) => {
            answer(&gettid().to_string());
            raise(Signal::SIGSTOP).unwrap();
        }
        Err(errno) => answer(errno.desc()),
    }
}

/// Forks a child with a copy of everything, which carries out the commands that start with `child`.
fn fork_a_child(peer: &mut State) {
    let (reader, writer) = pipe().unwrap();
    // SAFETY: the harness's thread, which the child lacks, only waits and holds no lock.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => peer.child = Some((child, writer.into())),
        ForkResult::Child => {
            drop(writer);
            peer.go_on_with(BufReader::new(File::from(reader)))
        }
    }
}

fn fork_with_pid(peer: &mut State, pid: u32) {
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    fork_a_child(peer);
    assert_eq!(peer.child.as_ref().unwrap().0.as_raw().cast_unsigned(), pid);
}

/// Makes another thread fork a child when the test opens a fifo; the child lives as long as the peer.
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
                exit_at_once(0)
            }
        }
    });
}

/// Keeps running when the commands end, until it is killed.
fn stay() -> ! {
    answer(OK);
    loop {
        thread::park();
    }
}

/// Ends this thread, the first of a forked child; a second one continues.
fn go_on_in_a_thread(peer: &mut State) -> ! {
    let mut peer = State {
        lockfile: peer.lockfile.clone(),
        guard: peer.guard.take(),
        child: peer.child.take(),
    };
    let first = gettid();
    thread::spawn(move || {
        await_state(&format!("/proc/{first}/stat"), 'Z');
        answer(OK);
        peer.go_on_with(BufReader::new(io::stdin()))
    });
    // SAFETY: the system call ends this thread and nothing else; its stack stays mapped.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

fn park_a_thread() -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        sender.send(gettid()).unwrap();
        loop {
            thread::park();
        }
    });
    receiver.recv().unwrap().to_string()
}

/// A uid, and a gid if it is different.
pub fn become_user(ids: &str) {
    let (user, group) = ids.split_once(' ').unwrap_or((ids, ids));
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(number(group))).unwrap();
    setuid(Uid::from_raw(number(user))).unwrap();
}

fn limit_files(limit: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
}

fn limit_file_size(limit: u64) {
    // SAFETY: SIG_IGN runs no code.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, limit, limit).unwrap();
}

fn mount_for_itself(kind: &str, options: Option<&str>) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .unwrap();
    mount(Some(kind), "/proc", Some(kind), MsFlags::empty(), options).unwrap();
}

fn enter_pid_namespace(peer: &mut State) {
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    fork_a_child(peer);
}

fn join_pid_namespace(peer: &mut State, pid: &str) {
    let namespace = File::open(format!("/proc/{pid}/ns/pid")).unwrap();
    setns(namespace, CloneFlags::CLONE_NEWPID).unwrap();
    fork_a_child(peer);
}
