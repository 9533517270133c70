//! Processes fight over one lock while they are killed and stopped, and servers are killed and started again.
//!
//! `ETCD_TORTURE_SECONDS=600 cargo test --release --all-features --test etcd torture` is the long form. What it is
//! worth is shown by `tests/etcd_mutants.sh`: the same fight against broken copies of the crate.

mod verdict;
mod worker;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use self::verdict::Verdict;
use crate::support::http::line;
use crate::support::locks::TTL;
use crate::support::peer::run_again;
use crate::support::server::{Cluster, Server, is_stopped};
use crate::support::store::Store;
use crate::support::wait::{patience, require_etcd, until};

const FIGHTERS: usize = 8;
const NAME: &str = "torture";
const DEFAULT_SECONDS: f64 = 8.0;

fn duration() -> Duration {
    let seconds = env::var("ETCD_TORTURE_SECONDS").map(|text| text.parse().expect("a number"));
    Duration::from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS))
}

/// Where the store is, what the workers report, and where one waits to be stopped.
pub struct Arena {
    dir: TempDir,
}

/// A process that fights for as long as this lives.
struct Fighter(Child);

impl Fighter {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Fighter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Arena {
    fn store(&self) -> Store {
        Store::at(worker::store_path(self.dir.path()))
    }
}

struct Fight<'a> {
    arena: Arena,
    servers: Vec<&'a Server>,
    fighters: Vec<Fighter>,
    /// Deterministic numbers, so that a fight can be had again as far as schedulers let it.
    chance: u64,
    verdict: Verdict,
}

impl<'a> Fight<'a> {
    fn new(servers: Vec<&'a Server>) -> Fight<'a> {
        let dir = tempfile::tempdir().unwrap();
        let chance = u64::from(std::process::id()) * 0x9e37_79b9 + 1;
        let fighters = Vec::new();
        let mut fight =
            Fight { arena: Arena { dir }, servers, fighters, chance, verdict: Verdict::default() };
        for _ in 0..FIGHTERS {
            let fighter = fight.start();
            fight.fighters.push(fighter);
        }
        fight
    }

    fn start(&self) -> Fighter {
        let endpoints: Vec<_> = self.servers.iter().map(|server| server.endpoint()).collect();
        // A TTL of 1 s and of 2 s by turns.
        let ttl = if self.fighters.len().is_multiple_of(2) { TTL } else { 2 * TTL };
        let fighter = run_again("torture::worker::worker", &endpoints, NAME, ttl)
            .env(worker::DIR, self.arena.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Fighter(fighter)
    }

    fn draw(&mut self, limit: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance % u64::try_from(limit).unwrap()).unwrap()
    }

    fn kill_one(&mut self) {
        let number = self.draw(FIGHTERS);
        self.fighters[number] = self.start();
        self.verdict.kills += 1;
    }

    /// Stops one wherever it is, and lets it go on later, past its TTL or not.
    fn stop_one(&mut self) {
        let number = self.draw(FIGHTERS);
        let time = Duration::from_millis(200 * u64::try_from(1 + self.draw(14)).unwrap());
        let pid = self.fighters[number].pid();
        kill(pid, Signal::SIGSTOP).unwrap();
        thread::sleep(time);
        kill(pid, Signal::SIGCONT).unwrap();
        self.verdict.stops += 1;
    }

    /// Stops the owner after it has looked at `is_lost` and before it writes, and lets it go on when the next
    /// owner has written: the store alone can refuse this write, and must.
    fn stop_an_owner_that_is_about_to_write(&mut self) {
        let aim = worker::aim_path(self.arena.dir.path());
        let aimed = worker::aimed_path(self.arena.dir.path());
        let _ = fs::remove_file(&aimed);
        fs::write(&aim, "").unwrap();
        let mut owner = None;
        until("an owner is about to write", || {
            owner = fs::read_to_string(&aimed).ok().and_then(|text| parse_aimed(&text));
            owner.is_some()
        });
        let (pid, token) = owner.unwrap();
        let proc_file = format!("/proc/{pid}/stat");
        until("it has stopped", || is_stopped(Path::new(&proc_file)));
        let start = Instant::now();
        while !self
            .arena
            .store()
            .writes()
            .unwrap()
            .iter()
            .any(|it| it.is_accepted && it.token > token)
        {
            assert!(start.elapsed() < patience(), "nobody has taken over from {pid}: stuck");
            thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT).unwrap();
        self.verdict.aimed += 1;
        until("its late write has come", || {
            self.arena.store().writes().unwrap().iter().any(|it| it.token == token && it.pid == pid)
        });
    }

    /// Whatever was done to them, they go on.
    fn end(mut self) {
        let before = self.arena.store().owners();
        let healed = Instant::now();
        until("ten more owners", || self.arena.store().owners() >= before + 10);
        println!("ten more owners took {:?}", healed.elapsed());
        self.fighters.clear();
        let writes = self.arena.store().writes().unwrap();
        self.verdict.judge(&writes, &worker::reports(self.arena.dir.path()));
        println!("{}", self.verdict);
        self.verdict.assert_good();
        // What is left ends by itself.
        let healthy = self.servers.iter().find(|server| server.is_healthy()).unwrap();
        until("the line is empty", || line(&healthy.address(), NAME).is_empty());
    }
}

fn parse_aimed(text: &str) -> Option<(u32, u64)> {
    let (pid, token) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((pid.parse().ok()?, token.parse().ok()?))
}

#[test]
fn no_write_of_a_former_owner_is_taken_while_processes_and_the_server_are_killed() {
    require_etcd!();
    let server = Server::start(&[]);
    let mut fight = Fight::new(vec![&server]);
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < duration() || round < 4 {
        match round % 4 {
            0 => fight.stop_an_owner_that_is_about_to_write(),
            1 => fight.kill_one(),
            2 => fight.stop_one(),
            _ => {
                server.kill();
                server.restart();
                fight.verdict.server_failures += 1;
            }
        }
        round += 1;
    }
    fight.end();
}

#[test]
fn no_write_of_a_former_owner_is_taken_while_leaders_are_killed_and_frozen() {
    require_etcd!();
    let cluster = Cluster::start();
    let mut fight = Fight::new(cluster.members().iter().collect());
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < duration() || round < 4 {
        match round % 4 {
            0 => fight.stop_an_owner_that_is_about_to_write(),
            1 => {
                let leader = cluster.leader();
                leader.kill();
                fight.kill_one();
                leader.restart();
                fight.verdict.server_failures += 1;
            }
            2 => fight.stop_one(),
            _ => {
                let leader = cluster.leader();
                leader.freeze();
                fight.kill_one();
                thread::sleep(Duration::from_millis(500));
                leader.thaw();
                fight.verdict.server_failures += 1;
            }
        }
        round += 1;
    }
    fight.end();
}
