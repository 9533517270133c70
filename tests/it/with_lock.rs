//! `examples/with_lock` as a process: does it do flock(1)'s job?

mod exit_status;
mod no_fork;
mod signals;
mod terminal;
mod usage;
mod waiting;

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::SystemTime;
use std::{fs, io};

use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::unistd::Pid;

use crate::support::example;
use crate::support::peer::Peer;
use crate::support::process::{Survivor, await_state};
use crate::support::program::Program;
use crate::support::sandbox::{Bystander, Sandbox, record_of};

/// The signals that it passes on.
const SIGNALS: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// The example of these sources. `cargo test --test it` leaves one there that was built before a change of them, and
/// what that does not say would be waited for without end.
fn example_of_now() -> Command {
    static IS_OF_NOW: Once = Once::new();
    IS_OF_NOW.call_once(|| {
        let built = example::command("with_lock");
        let built = Path::new(built.get_program());
        if is_outdated(built).unwrap() {
            fs::remove_file(built).expect("`cargo build --examples` replaces an old example");
        }
    });
    example::command("with_lock")
}

fn is_outdated(built: &Path) -> io::Result<bool> {
    let sources = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/with_lock"))?;
    let changed: io::Result<Vec<SystemTime>> =
        sources.map(|source| source?.metadata()?.modified()).collect();
    Ok(changed?.into_iter().max() > Some(built.metadata()?.modified()?))
}

/// `with_lock OPTIONS PATH COMMAND`, to which signals do what they do by default.
fn with_lock(options: &[&str], sandbox: &Sandbox, command: &[&str]) -> Command {
    let mut with_lock = example_of_now();
    with_lock.args(options).arg(sandbox.path()).args(command);
    with_lock.stdout(Stdio::piped()).stderr(Stdio::piped());
    // The tests may run in the background or under nohup(1).
    set_signals(&mut with_lock, SigHandler::SigDfl, &SIGNALS);
    with_lock
}

fn set_signals(command: &mut Command, handler: SigHandler, signals: &'static [Signal]) {
    let set = move || {
        for &which in signals {
            // SAFETY: no function of ours is the handler.
            unsafe { signal(which, handler) }?;
        }
        Ok(signals.iter().copied().collect::<SigSet>().thread_unblock()?)
    };
    // SAFETY: sigaction(2) and sigprocmask(2) are async-signal-safe.
    unsafe { command.pre_exec(set) };
}

type Answer = (Option<i32>, String, String);

fn output(options: &[&str], sandbox: &Sandbox, command: &[&str]) -> Answer {
    answer(with_lock(options, sandbox, command).output().unwrap())
}

fn answer(Output { status, stdout, stderr }: Output) -> Answer {
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn line_of(stream: impl Read) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn it_runs_the_command_under_the_lock_with_its_own_pid_and_removes_the_file() {
    let sandbox = Sandbox::new();
    let path = sandbox.path();
    let command = &["cat", path.to_str().unwrap()];
    let mut program = Program::start(&mut with_lock(&[], &sandbox, command));
    assert_eq!(program.line(), program.pid().to_string());
    assert!(program.end().0.success());
    sandbox.assert_free_and_clean();
}

#[test]
fn it_exits_as_the_command_does() {
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "kill -9 $$"], 128 + 9),
        (vec!["/no/such/program"], 69),
        (vec!["/"], 69),
        (vec!["echo", "-n", "-w"], 0),
    ] {
        let sandbox = Sandbox::new();
        assert_eq!(output(&[], &sandbox, &command).0, Some(code), "{command:?}");
        sandbox.assert_free_and_clean();
    }
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
fn the_command_does_not_outlive_the_lock() {
    let sandbox = Sandbox::new();
    let script = "echo $$; exec sleep 1000";
    let mut program = Program::start(&mut with_lock(&[], &sandbox, &["sh", "-c", script]));
    let command = program.line();
    program.signal(Signal::SIGKILL);
    assert_eq!(program.end().0.signal(), Some(9));
    // It is nobody's child here: it is gone, or a zombie that nobody reaps.
    await_state(&format!("/proc/{command}/stat"), 'Z');
    sandbox.assert_free_and_clean();
}

#[test]
fn it_goes_by_the_kernel_lock_and_never_waits_for_a_recycled_pid() {
    let sandbox = Sandbox::new();
    let bystander = Bystander::new();
    sandbox.plant(record_of(bystander.pid()));
    assert_eq!(output(&["-n"], &sandbox, &["echo", "hello"]).1, "hello\n");

    sandbox.plant(record_of(bystander.pid()));
    let (code, out, complaint) = output(&["-n", "--pid-too"], &sandbox, &["echo", "hello"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let named =
        format!("{} names the running process {}", sandbox.path().display(), bystander.pid());
    assert!(complaint.starts_with(&format!("with_lock: {named} as its owner")), "{complaint}");
}

#[test]
fn a_child_that_the_command_leaves_behind_does_not_keep_the_lock() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 > /dev/null 2>&1 & echo $!";
    let (code, left_behind, _) = output(&["-o"], &sandbox, &["sh", "-c", script]);
    let _left_behind = Survivor(left_behind.trim().parse().unwrap());
    sandbox.assert_free_and_clean();
    assert_eq!(code, Some(0));
}

#[test]
fn when_it_is_verbose_it_says_how_long_it_took_and_what_it_runs() {
    let (_, out, complaint) = output(&["--verbose"], &Sandbox::new(), &["echo", "hello"]);
    let [took, executing, "hello"] = out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
    let seconds = took.strip_prefix("with_lock: getting lock took ").unwrap();
    seconds.strip_suffix(" seconds").unwrap().parse::<f64>().unwrap();
    assert_eq!((executing, complaint.as_str()), ("with_lock: executing echo", ""));
}
