//! Other projects' programs work on the same file: a Go package, pkill, start-stop-daemon, Python, systemd.
//!
//! On Debian they are in golang-go, golang-github-nightlyone-lockfile-dev, procps, dpkg and python3-filelock.
//! flock(1) has its own module.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::libc;
use pidlockfile::Error;

use crate::support::peer::Peer;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, record_of, require};

const GO_OK: &str = "<nil>";
const GO_BUSY: &str = "Locked by other process";
const GO_IS_MISSING: &str = "golang-go or golang-github-nightlyone-lockfile-dev is not installed";

/// The program around the Go package, built once, in cargo's directory for temporary files of tests.
fn go_program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build_go_program).as_deref()
}

fn build_go_program() -> Option<PathBuf> {
    const PACKAGES: &str = "/usr/share/gocode";
    if !Path::new(PACKAGES).join("src/github.com/nightlyone/lockfile").exists() {
        return None;
    }
    let build_dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = build_dir.join("nightlyone_lockfile");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/interop/main.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", PACKAGES)
        .env("GOCACHE", build_dir.join("go"))
        .status();
    status.is_ok_and(|status| status.success()).then_some(program)
}

fn go(sandbox: &Sandbox) -> Program {
    Program::start(Command::new(go_program().unwrap()).arg(sandbox.path()))
}

#[test]
fn the_go_package_is_refused_while_we_hold_the_lock_and_reads_our_pid() {
    require!(go_program().is_some(), GO_IS_MISSING);
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut go = go(&sandbox);
    assert_eq!(go.ask("TryLock"), GO_BUSY);
    assert_eq!(go.ask("GetOwner"), owner.pid().to_string());
    owner.must("verify");
    owner.must("unlock");
    assert_eq!(go.ask("TryLock"), GO_OK);
}

#[test]
fn we_are_refused_while_the_go_package_holds_the_lock_and_read_its_pid() {
    require!(go_program().is_some(), GO_IS_MISSING);
    let sandbox = Sandbox::new();
    let mut go = go(&sandbox);
    assert_eq!(go.ask("TryLock"), GO_OK);
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid, kernel_locked: false, .. }) => assert_eq!(pid, Some(go.pid())),
        other => panic!("{other:?}"),
    }
    assert_eq!(sandbox.lockfile().owner().unwrap(), Some(go.pid()));
    assert_eq!(go.ask("Unlock"), GO_OK);
    sandbox.assert_free_and_clean();
}

#[test]
fn the_go_package_takes_over_what_we_leave_when_we_are_killed() {
    require!(go_program().is_some(), GO_IS_MISSING);
    let sandbox = Sandbox::new();
    Peer::holding(&sandbox.path()).kill();
    let mut go = go(&sandbox);
    assert_eq!(go.ask("TryLock"), GO_OK);
    assert_eq!(sandbox.record(), record_of(go.pid()));
    assert_eq!(go.ask("Unlock"), GO_OK);
    sandbox.assert_free_and_clean();
}

#[test]
fn we_take_over_what_the_go_package_leaves_when_it_is_killed() {
    require!(go_program().is_some(), GO_IS_MISSING);
    let sandbox = Sandbox::new();
    let mut go = go(&sandbox);
    assert_eq!(go.ask("TryLock"), GO_OK);
    let pid = go.pid();
    drop(go);
    assert_eq!(sandbox.record(), record_of(pid));
    sandbox.assert_free_and_clean();
}

/// Whether the program is installed: it can print its version.
fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn pgrep_finds_the_owner_by_our_file() {
    require!(has("pgrep"), "procps is not installed");
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let found = Command::new("pgrep").arg("-F").arg(sandbox.path()).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), record_of(owner.pid()));
}

#[test]
fn pkill_signals_the_owner_by_our_file() {
    require!(has("pkill"), "procps is not installed");
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let status = Command::new("pkill").args(["-TERM", "-F"]).arg(sandbox.path()).status();
    assert!(status.unwrap().success());
    assert_eq!(owner.end().signal(), Some(libc::SIGTERM));
    sandbox.assert_free_and_clean();
}

#[test]
fn start_stop_daemon_tells_a_running_owner_from_a_dead_one_and_from_none() {
    require!(has("start-stop-daemon"), "start-stop-daemon, of dpkg, is not installed");
    let sandbox = Sandbox::new();
    let status = || {
        let mut command = Command::new("start-stop-daemon");
        command.args(["--status", "--pidfile"]).arg(sandbox.path()).status().unwrap().code()
    };
    let mut owner = Peer::holding(&sandbox.path());
    assert_eq!(status(), Some(0), "running");
    owner.kill();
    assert_eq!(status(), Some(1), "dead, and the file is there");
    drop(sandbox.lock());
    assert_eq!(status(), Some(3), "not running");
}

#[test]
fn the_first_line_is_what_systemd_takes_for_the_main_pid() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    // `PIDFile=` reads one line and parses all of it: blanks at the end would be an error.
    let mut line = String::new();
    BufReader::new(fs::File::open(sandbox.path()).unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.strip_suffix('\n').unwrap().parse(), Ok(owner.pid()));
}

const FILELOCK: &str = "\
import sys
sys.path.append('/usr/lib/python3/dist-packages')
import filelock
lock = filelock.FileLock(sys.argv[1])
for line in sys.stdin:
    try:
        {'acquire': lambda: lock.acquire(timeout=0), 'release': lock.release}[line.strip()]()
        print('ok', flush=True)
    except filelock.Timeout:
        print('timeout', flush=True)
";
const FILELOCK_IS_MISSING: &str = "Python's filelock is not installed";

fn python(sandbox: &Sandbox) -> Program {
    Program::start(Command::new("python3").args(["-c", FILELOCK]).arg(sandbox.path()))
}

fn has_filelock() -> bool {
    let import = "import sys; sys.path.append('/usr/lib/python3/dist-packages'); import filelock";
    let status = Command::new("python3").args(["-c", import]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn we_are_refused_while_pythons_filelock_holds_the_lock() {
    require!(has_filelock(), FILELOCK_IS_MISSING);
    let sandbox = Sandbox::new();
    let mut python = python(&sandbox);
    let lockfile = sandbox.lockfile().kernel_lock_only();
    assert_eq!(python.ask("acquire"), "ok");
    let busy = lockfile.try_lock();
    assert!(matches!(busy, Err(Error::Busy { pid: None, kernel_locked: true, .. })), "{busy:?}");
    assert_eq!(python.ask("release"), "ok");
    lockfile.try_lock().unwrap().unlock().unwrap();
}

#[test]
fn pythons_filelock_is_refused_while_we_hold_the_lock_but_empties_our_record() {
    require!(has_filelock(), FILELOCK_IS_MISSING);
    let sandbox = Sandbox::new();
    let mut python = python(&sandbox);
    let mut owner = Peer::at(&sandbox.path());
    owner.must("kernel_lock_only");
    owner.must("try_lock");
    assert_eq!(python.ask("acquire"), "timeout");
    // It opens the file with O_TRUNC before it asks for the lock. We keep the lock, and report what happened.
    assert_eq!(sandbox.record(), "");
    assert!(matches!(sandbox.lockfile().try_lock(), Err(Error::Busy { kernel_locked: true, .. })));
    owner.must_fail("unlock", "RogueDeletion");
    assert_eq!(python.ask("acquire"), "ok");
    assert_eq!(python.ask("release"), "ok");
    sandbox.assert_free_and_clean();
}

#[test]
fn a_pid_file_that_start_stop_daemon_wrote_is_honoured() {
    require!(has("start-stop-daemon"), "start-stop-daemon, of dpkg, is not installed");
    let sandbox = Sandbox::new();
    let status = Command::new("start-stop-daemon")
        .args(["--start", "--background", "--make-pidfile", "--pidfile"])
        .arg(sandbox.path())
        .args(["--startas", "/bin/sleep", "--", "1000"])
        .status();
    assert!(status.unwrap().success());
    match sandbox.lockfile().try_lock() {
        Err(Error::Busy { pid: Some(_), kernel_locked: false, .. }) => {}
        other => panic!("{other:?}"),
    }
    let stop = Command::new("start-stop-daemon")
        .args(["--stop", "--quiet", "--signal", "KILL", "--retry", "5", "--pidfile"])
        .arg(sandbox.path())
        .status();
    assert!(stop.unwrap().success());
    sandbox.assert_free_and_clean();
}
