//! Go's clientv3/concurrency, from Debian's golang-etcd-server-dev: the lock that ours is laid out as.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use super::server::Server;
use super::wait::patience;

pub const GO_IS_MISSING: &str = "golang-go or golang-etcd-server-dev is not installed";

/// The program, built once into cargo's directory for such things.
pub fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    const PACKAGES: &str = "/usr/share/gocode";
    if !Path::new(PACKAGES).join("src/go.etcd.io/etcd/clientv3/concurrency").exists() {
        return None;
    }
    let build_dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = build_dir.join("etcd_concurrency");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/etcd/compat/main.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", PACKAGES)
        .env("GOCACHE", build_dir.join("go"))
        .status();
    status.is_ok_and(|status| status.success()).then_some(program)
}

/// A process of it.
pub struct Go {
    child: Child,
    commands: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
}

impl Go {
    pub fn start(server: &Server, name: &str) -> Go {
        let mut command = Command::new(program().unwrap());
        let mut child = command
            .args([&server.endpoint(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let go = Go { child, commands, answers };
        assert_eq!(go.answer(), "ready");
        go
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
    }

    pub fn answer(&self) -> String {
        self.answers.recv_timeout(patience()).expect("the Go program never answered")
    }

    pub fn has_answered(&self) -> bool {
        self.answers.try_recv().is_ok()
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// Ends its commands, on which it closes its session.
    pub fn end(mut self) {
        self.commands = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
