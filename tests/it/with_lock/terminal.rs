//! On a terminal of its own, which script(1) makes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use pidlockfile::retry::RetryPolicy;

use super::{SIGNALS, SigHandler, set_signals};
use crate::support::ability::require_able;
use crate::support::example;
use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, require};

/// Runs `with_lock PATH SCRIPT ARGUMENT` as the leader of the terminal's session.
fn on_a_terminal(sandbox: &Sandbox, script: &str) -> Child {
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--flush", "--command"]);
    terminal.arg(r#"exec "$WITH_LOCK" "$LOCK" sh -c "$SCRIPT""#).arg("/dev/null");
    terminal.env("WITH_LOCK", example::command("with_lock").get_program());
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

#[test]
fn ctrl_c_ends_the_wait_and_leaves_a_clean_line() {
    require!(has_script(), "needs script(1)");
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let mut terminal = on_a_terminal(&sandbox, "echo hello");
    let mut shown = shown_until(&mut terminal, &format!("is locked by process {}", owner.pid()));
    press_ctrl_c(&terminal);
    shown += &shown_to_the_end(&mut terminal);
    assert_eq!(terminal.wait().unwrap().code(), Some(128 + Signal::SIGINT as i32));
    let (_, after_the_last_text) = shown.rsplit_once("is locked by process").unwrap();
    let (_, after_the_erasure) =
        after_the_last_text.rsplit_once("\x1b[2K").expect("the spinner stays");
    assert_eq!(after_the_erasure.trim_matches('\r'), "", "{shown:?}");
    assert_eq!(shown.matches("\x1b[?25l").count(), shown.matches("\x1b[?25h").count());
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    require!(has_script(), "needs script(1)");
    let sandbox = Sandbox::new();
    let script = "trap 'echo interrupted' INT; trap 'exit 40' TERM; echo started; while :; do read line; done";
    let mut terminal = on_a_terminal(&sandbox, script);
    shown_until(&mut terminal, "started");
    press_ctrl_c(&terminal);
    shown_until(&mut terminal, "interrupted");
    // What it would pass on twice came before this.
    let with_lock: i32 = sandbox.record().trim().parse().unwrap();
    kill(Pid::from_raw(with_lock), Signal::SIGTERM).unwrap();
    assert!(!shown_to_the_end(&mut terminal).contains("interrupted"));
    assert_eq!(terminal.wait().unwrap().code(), Some(40));
    sandbox.assert_free_and_clean();
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
