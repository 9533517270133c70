//! On a terminal of its own, which script(1) makes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use pidlockfile::retry::RetryPolicy;

use super::{SIGNALS, SigHandler, example_of_now, set_signals};
use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::process::await_state;
use crate::support::sandbox::{Sandbox, require};

/// Runs `with_lock PATH sh -c SCRIPT` as the leader of the terminal's session.
fn on_a_terminal(sandbox: &Sandbox, script: &str) -> Child {
    on_a_terminal_by(r#"exec "$WITH_LOCK" "$LOCK" sh -c "$SCRIPT""#, sandbox, script)
}

fn on_a_terminal_by(start: &str, sandbox: &Sandbox, script: &str) -> Child {
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--flush", "--command", start, "/dev/null"]);
    terminal.env("WITH_LOCK", example_of_now().get_program());
    terminal.env("LOCK", sandbox.path()).env("SCRIPT", script).env("TERM", "xterm");
    terminal.env("SHELL", "/bin/sh").current_dir(sandbox.dir());
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    set_signals(&mut terminal, SigHandler::SigDfl, &SIGNALS);
    terminal.spawn().unwrap()
}

fn has_script() -> bool {
    Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Reads what is shown until `text` is.
fn shown_until(terminal: &mut Child, text: &str) -> String {
    let mut shown = Vec::new();
    let screen = terminal.stdout.as_mut().unwrap();
    while !String::from_utf8_lossy(&shown).contains(text) {
        let mut some = [0; 256];
        let count = screen.read(&mut some).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&some[..count]);
    }
    String::from_utf8_lossy(&shown).into_owned()
}

fn press_ctrl_c(terminal: &Child) {
    terminal.stdin.as_ref().unwrap().write_all(b"\x03").unwrap();
}

fn shown_to_the_end(terminal: &mut Child) -> String {
    let mut shown = Vec::new();
    terminal.stdout.as_mut().unwrap().read_to_end(&mut shown).unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

/// The lines that a terminal of 200 columns shows in the end.
fn screen_of(shown: &str) -> Vec<String> {
    const WIDTH: usize = 200;
    let (mut lines, mut row, mut column) = (vec![String::new()], 0, 0);
    for char in shown.replace("\x1b[2K", "\0").chars() {
        match char {
            '\0' => lines[row].clear(),
            '\r' => column = 0,
            '\n' => row += 1,
            _ => {
                if column == WIDTH {
                    (row, column) = (row + 1, 0);
                }
                lines.resize(lines.len().max(row + 1), String::new());
                let mut line: Vec<_> = lines[row].chars().collect();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = char;
                lines[row] = line.into_iter().collect();
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), String::new());
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn ctrl_c_ends_the_wait_and_leaves_a_clean_line() {
    require!(has_script(), "needs script(1)");
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let mut terminal = on_a_terminal(&sandbox, "echo hello");
    let mut shown = shown_until(&mut terminal, &format!("is locked by process {}", owner.pid()));
    shown += &shown_until(&mut terminal, " s\r");
    press_ctrl_c(&terminal);
    shown += &shown_to_the_end(&mut terminal);
    assert_eq!(terminal.wait().unwrap().code(), Some(128 + Signal::SIGINT as i32));
    let [waiting, cleared] = &screen_of(&shown)[..] else { panic!("{shown:?}") };
    assert!(waiting.starts_with("with_lock: waiting: "), "{waiting}");
    assert_eq!(cleared, "", "{shown:?}");
    assert_eq!(shown.matches("\x1b[?25l").count(), shown.matches("\x1b[?25h").count());
}

/// Says how often it is interrupted.
const COUNT: &str =
    "trap 'echo interrupted' INT; trap 'exit 40' TERM; echo started; while :; do read line; done";

/// What is shown until SIGTERM ends the command, the last signal that `with_lock` passes on.
fn terminate(terminal: &mut Child, sandbox: &Sandbox) -> String {
    kill(with_lock_in(sandbox), Signal::SIGTERM).unwrap();
    let shown = shown_to_the_end(terminal);
    assert_eq!(terminal.wait().unwrap().code(), Some(40));
    sandbox.assert_free_and_clean();
    shown
}

fn with_lock_in(sandbox: &Sandbox) -> Pid {
    Pid::from_raw(sandbox.record().trim().parse().unwrap())
}

#[test]
fn ctrl_c_reaches_the_command_and_is_not_passed_on_as_well() {
    require!(has_script(), "needs script(1)");
    let sandbox = Sandbox::new();
    // Not the child of script(1), which would stop with it.
    let start = r#"trap : INT; "$WITH_LOCK" "$LOCK" sh -c "$SCRIPT""#;
    let mut terminal = on_a_terminal_by(start, &sandbox, COUNT);
    let mut shown = shown_until(&mut terminal, "started");
    // Two interrupts at once would count as one.
    let with_lock = with_lock_in(&sandbox);
    kill(with_lock, Signal::SIGSTOP).unwrap();
    await_state(&format!("/proc/{with_lock}/stat"), 'T');
    press_ctrl_c(&terminal);
    shown += &shown_until(&mut terminal, "interrupted");
    kill(with_lock, Signal::SIGCONT).unwrap();
    shown += &terminate(&mut terminal, &sandbox);
    assert_eq!(shown.matches("interrupted").count(), 1, "{shown}");
}

#[test]
fn ctrl_c_is_passed_on_to_a_command_that_has_left_the_terminals_job() {
    require!(has_script(), "needs script(1)");
    let sandbox = Sandbox::new();
    let start = r#"exec "$WITH_LOCK" "$LOCK" setsid sh -c "$SCRIPT""#;
    let mut terminal = on_a_terminal_by(start, &sandbox, COUNT);
    shown_until(&mut terminal, "started");
    press_ctrl_c(&terminal);
    shown_until(&mut terminal, "interrupted");
    terminate(&mut terminal, &sandbox);
}

#[test]
fn a_hang_up_reaches_the_command_which_ends_in_its_own_time() {
    require!(has_script(), "needs script(1)");
    require_able!(Fifos);
    let sandbox = Sandbox::new();
    let fifo = sandbox.dir().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let script = "exec 3> fifo; trap 'echo hung up >&3; exit' HUP; echo started >&3; while :; do sleep 0.1; done";
    let mut terminal = on_a_terminal(&sandbox, script);
    let mut lines = BufReader::new(File::open(&fifo).unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "started");
    terminal.kill().unwrap();
    assert_eq!(terminal.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    assert_eq!(lines.next().expect("the command was killed").unwrap(), "hung up");
    RetryPolicy::daemon().run().acquire(&sandbox.lockfile()).unwrap().unlock().unwrap();
}
