//! Real etcd servers, on loopback ports of their own, with their data in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::http::request;
use super::start::{Options, free_port, memory, spawn};
use super::tls::Identity;
use super::wait::until;

pub struct Server {
    child: Mutex<Child>,
    options: Options,
    _dir: TempDir,
}

impl Server {
    /// The server of this test binary, for tests that leave it in peace: each uses a lock of its own name.
    pub fn shared() -> Arc<Server> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Server::start(&[]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of its own, with these options besides the usual ones.
    pub fn start(more: &[&str]) -> Server {
        Server::start_with(more, None)
    }

    pub fn start_with(more: &[&str], tls: Option<&Identity>) -> Server {
        let mut servers = Server::cluster(1, more, tls);
        servers.pop().unwrap()
    }

    /// Starts the members of a cluster, and waits until all of them serve.
    fn cluster(members: usize, more: &[&str], tls: Option<&Identity>) -> Vec<Server> {
        // A port that was free may be taken by the time etcd binds it.
        for _ in 0..10 {
            let ports: Vec<[u16; 2]> = (0..members).map(|_| [free_port(), free_port()]).collect();
            let cluster = ports.iter().enumerate();
            let cluster: Vec<_> = cluster
                .map(|(number, [_, peer])| format!("m{number}=http://127.0.0.1:{peer}"))
                .collect();
            let servers: Vec<_> = ports
                .iter()
                .enumerate()
                .map(|(number, &[client, peer])| {
                    let dir = tempfile::tempdir_in(memory()).unwrap();
                    let options = Options {
                        name: format!("m{number}"),
                        data: dir.path().join("data"),
                        client,
                        peer,
                        cluster: cluster.join(","),
                        more: more.iter().map(|&option| option.to_owned()).collect(),
                        tls: tls.cloned(),
                    };
                    Server { child: Mutex::new(spawn(&options)), options, _dir: dir }
                })
                .collect();
            if servers.iter().all(Server::comes_up) {
                return servers;
            }
        }
        panic!("etcd does not start: {more:?}");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.options.client)
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// etcd's own client, with what it needs to be let in.
    pub fn etcdctl(&self) -> Command {
        let mut command = Command::new("etcdctl");
        command.env_clear().env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint()]);
        command.args(self.options.tls.iter().flat_map(Identity::etcdctl_options));
        command
    }

    pub fn is_healthy(&self) -> bool {
        match &self.options.tls {
            // By gRPC: the gateway is what some tests take away.
            Some(_) => {
                self.etcdctl().args(["endpoint", "health"]).output().unwrap().status.success()
            }
            None => request(&self.address(), "GET", "/health", "")
                .is_ok_and(|(status, _)| status == 200),
        }
    }

    /// Whether it serves in the end; it doesn't if its process is over.
    fn comes_up(&self) -> bool {
        let mut is_over = false;
        until("etcd is healthy", || {
            is_over = self.child().try_wait().unwrap().is_some();
            is_over || self.is_healthy()
        });
        !is_over
    }

    pub fn kill(&self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }

    /// Starts it again, on the same data and ports, without waiting until it serves.
    pub fn start_again(&self) {
        *self.child() = spawn(&self.options);
    }

    pub fn restart(&self) {
        self.start_again();
        assert!(self.comes_up(), "its ports were taken meanwhile");
    }

    /// It answers nothing from now on, although its connections stay.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let stat = PathBuf::from(format!("/proc/{}/stat", self.child().id()));
        until("the server is frozen", || is_stopped(&stat));
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child().id().cast_signed()), signal).unwrap();
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child().kill();
        let _ = self.child().wait();
    }
}

/// Whether a process, by its /proc/PID/stat, is stopped.
pub fn is_stopped(stat: &Path) -> bool {
    let stat = fs::read_to_string(stat).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
}

/// Three members.
pub struct Cluster(Vec<Server>);

impl Cluster {
    pub fn start() -> Cluster {
        Cluster(Server::cluster(3, &[], None))
    }

    pub fn members(&self) -> &[Server] {
        &self.0
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.0.iter().map(Server::endpoint).collect()
    }

    /// The member that leads now.
    pub fn leader(&self) -> &Server {
        let mut leader = None;
        until("a member leads", || {
            leader = self.0.iter().find(|server| server.leads());
            leader.is_some()
        });
        leader.unwrap()
    }
}

impl Server {
    fn leads(&self) -> bool {
        let Ok((200, body)) = request(&self.address(), "POST", "/v3/maintenance/status", "{}")
        else {
            return false;
        };
        let status: serde_json::Value = serde_json::from_str(&body).unwrap();
        status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
    }
}
