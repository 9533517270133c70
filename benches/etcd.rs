//! The lock kept by etcd beside Go's clientv3/concurrency, on one server, in turns.
//!
//! It needs etcd and etcdctl; Go's side is built from Debian's packages, and left out where they are missing. The
//! server has its data in memory, or in `ETCD_TEST_DIR`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::etcd::EtcdLock;
use pidlockfile::retry::RetryPolicy;
use serde_json::{Value, json};

use crate::again::Process;
use crate::is_short;
use crate::support::http::{line, request};
use crate::support::server::Server;
use crate::support::wait::{has_etcd, until};

const CROWDS: [usize; 2] = [16, 64];
const HOLD: Duration = Duration::from_millis(5);

const GO: &str = "Go";
const OURS: &str = "ours";

/// Nanoseconds, or requests, by row and column.
#[derive(Default)]
struct Results(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Results {
    fn add(&mut self, row: &'static str, whose: &'static str, value: f64) {
        self.0.entry((row, whose)).or_default().push(value);
    }

    fn median(&self, row: &'static str, whose: &'static str) -> Option<f64> {
        let mut values = self.0.get(&(row, whose))?.clone();
        values.sort_by(f64::total_cmp);
        Some(values[values.len() / 2])
    }
}

fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Go's side, if it can be built.
fn start_go(server: &Server) -> Option<Process> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd_bench");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/others/etcd/build.sh");
    let status = Command::new("bash").arg(script).arg(&program).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("SKIPPED: golang-go or golang-etcd-server-dev is not installed");
        return None;
    }
    Some(Process::spawn(Command::new(program).arg(server.endpoint())))
}

fn ask(go: &mut Process, command: &str) -> Vec<f64> {
    go.tell(command);
    go.answer().split_whitespace().map(|word| word.parse().unwrap()).collect()
}

struct Ours<'a> {
    server: &'a Server,
    cycle: EtcdLock,
    held: EtcdLock,
}

impl<'a> Ours<'a> {
    fn new(server: &'a Server) -> Ours<'a> {
        let [cycle, held] = ["bench/cycle", "bench/held"].map(|name| lock(server, name));
        Ours { server, cycle, held }
    }

    fn measure(&self, results: &mut Results) {
        let start = Instant::now();
        let guard = self.cycle.try_lock().unwrap();
        results.add("try_lock", OURS, ns(start.elapsed()));
        let start = Instant::now();
        guard.verify().unwrap();
        results.add("verify", OURS, ns(start.elapsed()));
        let start = Instant::now();
        guard.unlock().unwrap();
        results.add("release", OURS, ns(start.elapsed()));

        let start = Instant::now();
        let guard = RetryPolicy::daemon().run().acquire(&self.cycle).unwrap();
        results.add("acquire", OURS, ns(start.elapsed()));
        guard.unlock().unwrap();

        let start = Instant::now();
        self.held.try_lock().unwrap_err();
        results.add("refused", OURS, ns(start.elapsed()));
    }

    fn hand_over(&self) -> Duration {
        let lock = lock(self.server, "bench/handover");
        let guard = lock.try_lock().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let next = RetryPolicy::daemon().run().acquire(&lock).unwrap();
                let acquired = Instant::now();
                next.unlock().unwrap();
                acquired
            });
            thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            guard.unlock().unwrap();
            waiter.join().unwrap().duration_since(start)
        })
    }

    /// As Go's: all of them use one client.
    fn crowd(&self, count: usize) -> Duration {
        let lock = lock(self.server, "bench/crowd");
        let guard = lock.try_lock().unwrap();
        let mut start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    let guard = RetryPolicy::daemon().run().acquire(&lock).unwrap();
                    thread::sleep(HOLD);
                    guard.unlock().unwrap();
                });
            }
            let address = self.server.address();
            until("all stand in line", || line(&address, "bench/crowd").len() > count);
            thread::sleep(Duration::from_secs(1));
            start = Instant::now();
            guard.unlock().unwrap();
        });
        start.elapsed()
    }
}

fn lock(server: &Server, name: &str) -> EtcdLock {
    EtcdLock::new([server.endpoint()], name).unwrap()
}

/// How many requests the server was asked so far, streams included.
fn requests(server: &Server) -> f64 {
    let (_, metrics) = request(&server.address(), "GET", "/metrics", "").unwrap();
    let counts = metrics.lines().filter(|line| line.starts_with("grpc_server_started_total"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// How long a hand-over takes in a crowd, and how many requests an acquisition.
fn crowd(
    server: &Server,
    results: &mut Results,
    whose: &'static str,
    count: usize,
    run: impl FnOnce() -> f64,
) {
    let before = requests(server);
    let total = run();
    let count_f64 = f64::from(u32::try_from(count).unwrap());
    // The look at the line, and the lock that was held at first, are no requests of theirs.
    let asked = requests(server) - before;
    let [time, number] = if count == CROWDS[0] {
        ["a hand-over, 16 waiters", "requests, 16 waiters"]
    } else {
        ["a hand-over, 64 waiters", "requests, 64 waiters"]
    };
    results.add(time, whose, total / count_f64);
    results.add(number, whose, asked / (count_f64 + 1.0));
}

pub fn measure() -> Value {
    if !has_etcd() {
        println!("SKIPPED: etcd or etcdctl is not installed");
        return Value::Null;
    }
    let rounds = if is_short() { 5 } else { 200 };
    let server = Server::start(&[]);
    let mut go = start_go(&server);
    let ours = Ours::new(&server);
    let mut results = Results::default();
    let _held = lock(&server, "bench/held").try_lock().unwrap();
    for _ in 0..rounds {
        ours.measure(&mut results);
        if let Some(go) = &mut go {
            let times = ask(go, "cycle");
            results.add("acquire", GO, times[0]);
            results.add("try_lock", GO, times[0]);
            results.add("release", GO, times[1]);
            results.add("refused", GO, ask(go, "look")[0]);
        }
    }
    for _ in 0..rounds / 4 {
        results.add("a hand-over, 1 waiter", OURS, ns(ours.hand_over()));
        if let Some(go) = &mut go {
            results.add("a hand-over, 1 waiter", GO, ask(go, "handover")[0]);
        }
    }
    for count in CROWDS {
        for _ in 0..if is_short() { 1 } else { 5 } {
            crowd(&server, &mut results, OURS, count, || ns(ours.crowd(count)));
            if let Some(go) = &mut go {
                crowd(&server, &mut results, GO, count, || ask(go, &format!("crowd {count}"))[0]);
            }
        }
    }
    let ours = results.0.keys().filter(|(_, whose)| *whose == OURS);
    let rows = ours.map(|&(row, _)| {
        json!({ "name": row, "ours": results.median(row, OURS), "go": results.median(row, GO) })
    });
    json!({ "rounds": rounds, "rows": rows.collect::<Vec<_>>() })
}
