//! etcd's own client: a holder and a waiter that no one here wrote, and what sets up users.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::server::Server;

/// Runs it, and it must go well.
#[track_caller]
pub fn run(server: &Server, arguments: &[&str]) -> String {
    let output = server.etcdctl().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Turns users and passwords on: `root` with the password `root`, and `app` with `secret`, who may use keys
/// below `jobs/`.
pub fn turn_auth_on(server: &Server) {
    run(server, &["user", "add", "root:root"]);
    run(server, &["user", "grant-role", "root", "root"]);
    run(server, &["role", "add", "jobs"]);
    run(server, &["role", "grant-permission", "jobs", "--prefix=true", "readwrite", "jobs/"]);
    run(server, &["user", "add", "app:secret"]);
    run(server, &["user", "grant-role", "app", "jobs"]);
    run(server, &["auth", "enable"]);
}

/// `etcdctl lock NAME`: it prints its key when it owns the lock, and releases on SIGTERM. Its lease stays.
pub struct Etcdctl {
    child: Child,
    key: mpsc::Receiver<String>,
}

impl Etcdctl {
    pub fn lock(server: &Server, name: &str) -> Etcdctl {
        let mut command = server.etcdctl();
        let mut child =
            command.args(["lock", "--ttl", "5", name]).stdout(Stdio::piped()).spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let (sender, key) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            if answers.read_line(&mut line).is_ok_and(|length| length > 0) {
                let _ = sender.send(line.trim_end().to_owned());
            }
        });
        Etcdctl { child, key }
    }

    pub fn owns_by_now(&self) -> bool {
        self.key.try_recv().is_ok()
    }

    /// Its key.
    pub fn wait_until_it_owns(&self) -> String {
        self.key.recv_timeout(super::wait::patience()).expect("etcdctl never got the lock")
    }

    /// It says now and then that it failed; then its key goes with its lease, after 5 s.
    pub fn unlock(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Etcdctl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
