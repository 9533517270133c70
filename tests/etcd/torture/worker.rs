//! One of those who fight: this test binary run again. It locks, writes into the store with its token, unlocks.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, process, thread};

use nix::sys::signal::{Signal, raise};
use pidlockfile::etcd::{EtcdError, EtcdGuard, EtcdLock};

use crate::support::locks::at_most;
use crate::support::peer::lock_of_this_process;
use crate::support::store::Store;

pub const DIR: &str = "ETCD_TORTURE_DIR";

pub fn store_path(dir: &Path) -> PathBuf {
    dir.join("store")
}

/// There while somebody is to stop itself.
pub fn aim_path(dir: &Path) -> PathBuf {
    dir.join("aim")
}

/// Who has stopped itself, and with which token.
pub fn aimed_path(dir: &Path) -> PathBuf {
    dir.join("aimed")
}

fn report_path(dir: &Path) -> PathBuf {
    dir.join("violations")
}

pub fn reports(dir: &Path) -> String {
    fs::read_to_string(report_path(dir)).unwrap_or_default()
}

#[test]
#[ignore = "not a test: what each process in the fight runs"]
fn worker() {
    let dir = PathBuf::from(env::var_os(DIR).expect("only a fight runs this"));
    let worker = Worker {
        lock: lock_of_this_process().request_timeout(Duration::from_millis(500)),
        store: Store::at(store_path(&dir)),
        dir,
    };
    for round in 0_u32.. {
        let taken = if round.is_multiple_of(5) {
            worker.lock.try_lock()
        } else {
            at_most(Duration::from_secs(5)).run().acquire(&worker.lock).map_err(|error| {
                error.last.unwrap_or(EtcdError::Config { message: "temporary".to_owned() })
            })
        };
        match taken {
            Ok(guard) => worker.own(guard, round),
            Err(EtcdError::Config { message }) if message == "temporary" => {}
            Err(error) if error.is_temporary() => thread::sleep(Duration::from_millis(20)),
            Err(error) => worker.report(&format!("an error that ends a run: {error}")),
        }
    }
}

struct Worker {
    lock: EtcdLock,
    store: Store,
    dir: PathBuf,
}

impl Worker {
    fn own(&self, guard: EtcdGuard, round: u32) {
        for _ in 0..3 {
            if guard.is_lost() {
                return;
            }
            // Between the look and the write is where no lock can help.
            self.stop_if_aimed_at(&guard);
            let _is_accepted = self.store.write(guard.fencing_token(), process::id()).unwrap();
            self.look_at_the_server(&guard);
        }
        if round.is_multiple_of(2) {
            match guard.unlock() {
                Ok(()) | Err(EtcdError::Lost { .. } | EtcdError::Unreachable { .. }) => {}
                Err(error) => self.report(&format!("unlock: {error}")),
            }
        }
    }

    /// A guard must not claim to hold the lock when the server has had another owner before.
    fn look_at_the_server(&self, guard: &EtcdGuard) {
        let Ok(owner) = self.lock.owner() else { return };
        let is_another = owner.as_ref().is_none_or(|owner| owner.token != guard.fencing_token());
        if is_another && !guard.is_lost() {
            self.report(&format!("{guard:?} claims to hold, and the owner is {owner:?}"));
        }
    }

    fn stop_if_aimed_at(&self, guard: &EtcdGuard) {
        // The process that removes it is meant.
        if fs::remove_file(aim_path(&self.dir)).is_ok() {
            let aimed = format!("{} {}\n", process::id(), guard.fencing_token());
            fs::write(aimed_path(&self.dir), aimed).unwrap();
            raise(Signal::SIGSTOP).unwrap();
        }
    }

    fn report(&self, what: &str) {
        let mut file =
            File::options().create(true).append(true).open(report_path(&self.dir)).unwrap();
        file.write_all(format!("{}: {what}\n", process::id()).as_bytes()).unwrap();
    }
}
