//! Signals: which end the wait, which the command gets, and what is inherited.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;

use nix::sys::signal::{SigHandler, SigSet, Signal};

use super::{SIGNALS, line_of, output, send, set_signals, with_lock};
use crate::support::peer::Peer;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, record_of};

#[test]
fn each_signal_ends_the_wait_and_the_command_never_runs() {
    for signal in SIGNALS {
        let sandbox = Sandbox::new();
        let owner = Peer::holding(&sandbox.path());
        let mut child = with_lock(&[], &sandbox, &["echo", "hello"]).spawn().unwrap();
        line_of(child.stderr.take().unwrap());
        send(&child, signal);
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(signal as i32),
            "a shell must see {signal}"
        );
        assert_eq!(line_of(child.stdout.take().unwrap()), "");
        assert_eq!(sandbox.record(), record_of(owner.pid()));
    }
}

#[test]
fn each_signal_is_passed_on_and_the_lock_released_after_the_command() {
    for signal in SIGNALS {
        let sandbox = Sandbox::new();
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!(
            "trap 'test -e \"$0\"; found=$?; echo got it; exit $((40 + found))' {name}; echo started; read line"
        );
        let path = sandbox.path();
        let command = &["sh", "-c", &script, path.to_str().unwrap()];
        let mut program = Program::start(&mut with_lock(&[], &sandbox, command));
        assert_eq!(program.line(), "started");
        program.signal(signal);
        assert_eq!(program.line(), "got it");
        let status = program.end().0;
        assert_eq!(
            status.code(),
            Some(40),
            "{signal}: {status}, or the file was gone before the command"
        );
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn it_ends_by_the_signal_that_it_passed_on_and_the_command_ended_by() {
    let sandbox = Sandbox::new();
    let command = &["sh", "-c", "echo started; exec sleep 1000"];
    let mut program = Program::start(&mut with_lock(&[], &sandbox, command));
    assert_eq!(program.line(), "started");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().0.signal(), Some(Signal::SIGTERM as i32));
    sandbox.assert_free_and_clean();
}

#[test]
fn a_signal_that_was_ignored_or_blocked_does_not_end_the_wait() {
    let block = || Ok(SigSet::from(Signal::SIGHUP).thread_block()?);
    for ignored in [Some(&[Signal::SIGINT]), Some(&[Signal::SIGHUP]), None] {
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let mut command = with_lock(&[], &sandbox, &["true"]);
        match ignored {
            Some(signals) => set_signals(&mut command, SigHandler::SigIgn, signals),
            // SAFETY: sigprocmask(2) is async-signal-safe.
            None => drop(unsafe { command.pre_exec(block) }),
        }
        let mut child = command.spawn().unwrap();
        line_of(child.stderr.take().unwrap());
        send(&child, ignored.map_or(Signal::SIGHUP, |signals| signals[0]));
        // It looks at every signal before it runs the command.
        owner.must("unlock");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{ignored:?}");
    }
}

#[test]
fn an_ignored_sigchld_does_not_lose_the_exit_status() {
    let sandbox = Sandbox::new();
    let mut command = with_lock(&[], &sandbox, &["sh", "-c", "exit 7"]);
    set_signals(&mut command, SigHandler::SigIgn, &[Signal::SIGCHLD]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    sandbox.assert_free_and_clean();
}

#[test]
fn the_command_finds_signals_ignored_and_blocked_as_they_were() {
    const SHOW: [&str; 3] = ["grep", "^Sig[BI]", "/proc/self/status"];
    let sandbox = Sandbox::new();
    let signals_of = |mut command: Command| {
        set_signals(&mut command, SigHandler::SigDfl, &SIGNALS);
        set_signals(&mut command, SigHandler::SigIgn, &[Signal::SIGHUP, Signal::SIGINT]);
        let block = || Ok(SigSet::from_iter([Signal::SIGUSR1, Signal::SIGALRM]).thread_block()?);
        // SAFETY: sigprocmask(2) is async-signal-safe.
        unsafe { command.pre_exec(block) };
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let mut without = Command::new(SHOW[0]);
    without.args(&SHOW[1..]);
    let inherited = signals_of(without);
    assert_eq!(inherited.lines().count(), 2);
    assert_eq!(signals_of(with_lock(&[], &sandbox, &SHOW)), inherited);
    assert_eq!(signals_of(with_lock(&["-F"], &sandbox, &SHOW)), inherited);
    assert_eq!(output(&["-n"], &sandbox, &["true"]).0, Some(0));
}
