//! How a server process is started: its options, its ports, and the thread that it does not outlive.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::{io, thread};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Pid;

use super::tls::Identity;

/// How a server is started, and started again.
#[derive(Clone)]
pub struct Options {
    pub name: String,
    pub data: PathBuf,
    pub client: u16,
    pub peer: u16,
    /// The members of the cluster as `--initial-cluster` has them.
    pub cluster: String,
    pub more: Vec<String>,
    pub tls: Option<Identity>,
}

/// The kernel kills a server when the thread that started it ends, so that none outlives a test run which is
/// killed. That thread must be one that lasts.
pub fn spawn(options: &Options) -> Child {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTER: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
    let mut starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let orders = starter.get_or_insert_with(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                reply.send(command.spawn()).unwrap();
            }
        });
        sender
    });
    let (sender, child) = mpsc::channel();
    orders.send((command(options), sender)).unwrap();
    child.recv().unwrap().unwrap()
}

fn command(options: &Options) -> Command {
    let Options { name, data, client, peer, cluster, more, tls } = options;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let client = format!("{scheme}://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    let mut command = Command::new("etcd");
    command
        .env_clear()
        .args(["--name", name, "--data-dir"])
        .arg(data)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args([
            "--initial-cluster",
            cluster,
            "--initial-cluster-token",
            &format!("t{}", process::id()),
        ])
        // A quick election makes a TTL of 1 s possible.
        .args(["--heartbeat-interval", "10", "--election-timeout", "100", "--log-level", "error"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(identity) = tls {
        command.args(identity.server_options());
    }
    let starter = Pid::this();
    // SAFETY: it makes system calls only.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            if Pid::parent() == starter { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
        })
    };
    command
}

/// Below the range from which the kernel takes ports for connections, since a server that is down must find its
/// port free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let start = u16::try_from(process::id() * 37 % 20_000).unwrap();
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A directory in memory, if `ETCD_TEST_DIR` is no other: etcd calls fsync(2) for each write.
pub fn memory() -> PathBuf {
    if let Some(dir) = std::env::var_os("ETCD_TEST_DIR") {
        return dir.into();
    }
    let memory = PathBuf::from("/dev/shm");
    let is_tmpfs = statfs(&memory).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC);
    if is_tmpfs { memory } else { std::env::temp_dir() }
}
