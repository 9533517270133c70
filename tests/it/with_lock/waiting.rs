//! What it says while it waits, and for how long it does.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{line_of, output, send, with_lock};
use crate::support::peer::Peer;
use crate::support::sandbox::Sandbox;

/// What every text of a wait for `pid` begins with.
fn waiting_for(pid: u32, sandbox: &Sandbox) -> String {
    format!("with_lock: waiting: {} is locked by process {pid} (attempt ", sandbox.path().display())
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
    assert!(waiting.starts_with(&waiting_for(owner.pid(), &sandbox)), "{waiting}");
    assert!(gave_up.starts_with("with_lock: gave up after "), "{gave_up}");
    assert!(gave_up.ends_with(&format!("is locked by process {}", owner.pid())), "{gave_up}");
}

#[test]
fn it_waits_until_the_lock_is_released() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut child = with_lock(&[], &sandbox, &["echo", "hello"]).spawn().unwrap();
    let waiting = line_of(child.stderr.take().unwrap());
    assert!(waiting.starts_with(&waiting_for(owner.pid(), &sandbox)), "{waiting}");
    owner.must("unlock");
    assert_eq!(line_of(child.stdout.take().unwrap()), "hello");
    assert!(child.wait().unwrap().success());
    sandbox.assert_free_and_clean();
}

#[test]
fn it_says_all_that_is_known_of_a_holder_that_recorded_no_pid() {
    let sandbox = Sandbox::new();
    let held = File::create(sandbox.path()).unwrap();
    held.lock().unwrap();
    let mut child = with_lock(&[], &sandbox, &["true"]).spawn().unwrap();
    let waiting = line_of(child.stderr.take().unwrap());
    let path = sandbox.path();
    let begin = format!(
        "with_lock: waiting: {} is locked by a process that recorded no pid; `fuser` or `lsof` on the file \
         shows which (attempt 1, the next within ",
        path.display()
    );
    assert!(waiting.starts_with(&begin), "{waiting}");
    drop(held);
    assert!(child.wait().unwrap().success());
}

#[test]
fn it_says_once_for_each_holder_for_whom_it_waits() {
    let sandbox = Sandbox::new();
    let mut first = Peer::holding(&sandbox.path());
    let mut child = with_lock(&[], &sandbox, &["echo", "hello"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with(&waiting_for(first.pid(), &sandbox)), "{line}");

    // It must not see the lock free, nor get it.
    send(&child, Signal::SIGSTOP);
    let pid = Pid::from_raw(child.id().cast_signed());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    first.must("unlock");
    let mut second = Peer::holding(&sandbox.path());
    send(&child, Signal::SIGCONT);
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with(&waiting_for(second.pid(), &sandbox)), "{line}");

    second.must("unlock");
    assert!(lines.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn no_seconds_are_no_wait_and_nonblock_is_none_however_many_seconds_there_are() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let busy =
        format!("with_lock: {} is locked by process {}\n", sandbox.path().display(), owner.pid());
    for options in [&["-w", "0"][..], &["-w", "0.01", "-n"], &["-n", "-w", "0.01"]] {
        let answer = output(options, &sandbox, &["true"]);
        assert_eq!(answer, (Some(1), String::new(), busy.clone()), "{options:?}");
    }
}

#[test]
fn when_it_is_quiet_it_does_not_say_who_holds_the_lock() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    for options in [&["-q", "-n"][..], &["--quiet", "-w", "0.05"]] {
        let answer = output(options, &sandbox, &["echo", "hello"]);
        assert_eq!(answer, (Some(1), String::new(), String::new()), "{options:?}");
    }
    owner.must("unlock");
    let (code, _, complaint) = output(&["-q"], &sandbox, &["/no/such/program"]);
    assert_eq!(code, Some(69));
    assert!(complaint.contains("/no/such/program"), "{complaint}");
}
