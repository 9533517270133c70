//! `examples/with_lock` as a process: does it do flock(1)'s job?

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::example;
use crate::peer::Peer;
use crate::sandbox::{Sandbox, record_of};

fn with_lock(options: &[&str], sandbox: &Sandbox, command: &[&str]) -> Command {
    let mut with_lock = example::command("with_lock");
    with_lock.args(options).arg(sandbox.path()).args(command);
    with_lock.stdout(Stdio::piped()).stderr(Stdio::piped());
    with_lock
}

fn output(options: &[&str], sandbox: &Sandbox, command: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = with_lock(options, sandbox, command).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn line_of(stream: impl std::io::Read) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn it_runs_the_command_under_the_lock_with_its_own_pid_and_removes_the_file() {
    let sandbox = Sandbox::new();
    let path = sandbox.path();
    let mut child = with_lock(&[], &sandbox, &["cat", path.to_str().unwrap()]).spawn().unwrap();
    assert_eq!(line_of(child.stdout.take().unwrap()), child.id().to_string());
    assert!(child.wait().unwrap().success());
    sandbox.assert_free_and_clean();
}

#[test]
fn it_exits_as_the_command_does() {
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "kill -9 $$"], 128 + 9),
        (vec!["/no/such/program"], 127),
        (vec!["/"], 126),
        (vec!["echo", "-n", "-w"], 0),
    ] {
        let sandbox = Sandbox::new();
        assert_eq!(output(&[], &sandbox, &command).0, Some(code), "{command:?}");
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn wrong_usage_and_impossible_locks_have_exit_statuses_of_their_own() {
    let sandbox = Sandbox::new();
    assert_eq!(output(&[], &sandbox, &[]).0, Some(64));
    assert_eq!(output(&["-x"], &sandbox, &["true"]).0, Some(64));
    assert_eq!(output(&["-w", "-1"], &sandbox, &["true"]).0, Some(64));
    fs::create_dir(sandbox.path()).unwrap();
    let (code, _, complaint) = output(&[], &sandbox, &["true"]);
    assert_eq!(code, Some(69));
    assert_eq!(
        complaint,
        format!("with_lock: {} is a directory and not a regular file\n", sandbox.path().display())
    );
}

#[test]
fn without_waiting_it_says_at_once_who_holds_the_lock() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let (code, out, complaint) = output(&["-n"], &sandbox, &["echo", "hello"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let path = sandbox.path();
    assert_eq!(
        complaint,
        format!("with_lock: {} is locked by process {}\n", path.display(), owner.pid())
    );
    assert_eq!(output(&["-n", "-E", "99"], &sandbox, &["true"]).0, Some(99));
}

#[test]
fn it_waits_no_longer_than_told() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let (code, out, complaint) = output(&["-w", "0.05", "-E", "9"], &sandbox, &["echo", "hello"]);
    assert_eq!((code, out.as_str()), (Some(9), ""));
    let [waiting, gave_up] = complaint.lines().collect::<Vec<_>>()[..] else {
        panic!("{complaint}");
    };
    assert_eq!(waiting, format!("with_lock: waiting for process {}", owner.pid()));
    assert!(gave_up.starts_with("with_lock: gave up after "), "{gave_up}");
    assert!(gave_up.ends_with(&format!("is locked by process {}", owner.pid())), "{gave_up}");
}

#[test]
fn it_waits_until_the_lock_is_released() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut child = with_lock(&[], &sandbox, &["echo", "hello"]).spawn().unwrap();
    assert_eq!(
        line_of(child.stderr.take().unwrap()),
        format!("with_lock: waiting for process {}", owner.pid())
    );
    owner.must("unlock");
    assert_eq!(line_of(child.stdout.take().unwrap()), "hello");
    assert!(child.wait().unwrap().success());
    sandbox.assert_free_and_clean();
}

#[test]
fn a_signal_ends_the_wait_and_the_command_never_runs() {
    for (sent, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let sandbox = Sandbox::new();
        let owner = Peer::holding(&sandbox.path());
        let mut child = with_lock(&[], &sandbox, &["echo", "hello"]).spawn().unwrap();
        line_of(child.stderr.take().unwrap());
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(line_of(child.stdout.take().unwrap()), "");
        assert_eq!(sandbox.record(), record_of(owner.pid()));
    }
}

#[test]
fn sigterm_is_passed_on_and_the_lock_released_after_the_command() {
    let sandbox = Sandbox::new();
    let script = "trap 'test -e \"$0\"; exit $((40 + $?))' TERM; echo started; read line";
    let path = sandbox.path();
    let mut child = with_lock(&[], &sandbox, &["sh", "-c", script, path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(line_of(child.stdout.take().unwrap()), "started");
    let _stdin = child.stdin.take();
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(40), "the file was gone before the command");
    sandbox.assert_free_and_clean();
}

#[test]
fn the_command_does_not_outlive_the_lock() {
    let sandbox = Sandbox::new();
    let script = "echo $$; exec sleep 1000";
    let mut child = with_lock(&[], &sandbox, &["sh", "-c", script]).spawn().unwrap();
    let command: u32 = line_of(child.stdout.take().unwrap()).parse().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    // It is nobody's child here: look until it is gone, or a zombie that nobody reaps.
    while fs::read_to_string(format!("/proc/{command}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        thread::yield_now();
    }
    sandbox.assert_free_and_clean();
}
