//! One worker: this test binary run again. It locks, checks that it is alone, counts, and unlocks.

use std::process::{Child, Command, Stdio};
use std::{env, process, thread};

use pidlockfile::{LockGuard, Lockfile};

use crate::arena::Arena;
use crate::refuse::refuse;
use crate::witness::Witness;

const RULES_VARIABLE: &str = "PIDLOCKFILE_TORTURE_RULES";
const KERNEL_LOCK_ONLY: &str = "kernel_lock_only";
const ONE_ROUND: &str = "one_round";

/// How all workers lock.
#[derive(Clone, Copy)]
pub struct Rules {
    pub kernel_lock_only: bool,
    /// What the kernel refuses the workers, which decides how they publish.
    pub refused: &'static [&'static str],
}

/// Runs an ignored test of this binary in its own process, in this arena.
pub fn run_again(test: &str, arena: &Arena) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .envs(arena.variables());
    command
}

pub fn start(arena: &Arena, rules: Rules, rounds: Rounds) -> Child {
    let mut words = rules.refused.to_vec();
    if rules.kernel_lock_only {
        words.push(KERNEL_LOCK_ONLY);
    }
    if rounds == Rounds::One {
        words.push(ONE_ROUND);
    }
    let mut command = run_again("worker::worker", arena);
    command.env(RULES_VARIABLE, words.join(" ")).stdout(Stdio::null()).spawn().unwrap()
}

#[derive(Clone, Copy, PartialEq)]
pub enum Rounds {
    /// Runs until it is killed.
    Endless,
    One,
}

#[test]
#[ignore = "not a test: what each process in the fight runs"]
fn worker() {
    let arena = Arena::of_this_process();
    let rules = env::var(RULES_VARIABLE).unwrap();
    let mut worker = Worker {
        witness: Witness::at(&arena),
        lockfile: Lockfile::new(arena.lock_path()).unwrap(),
    };
    let mut rounds = Rounds::Endless;
    for word in rules.split_whitespace() {
        match word {
            KERNEL_LOCK_ONLY => worker.lockfile = worker.lockfile.kernel_lock_only(),
            ONE_ROUND => rounds = Rounds::One,
            call => refuse(call),
        }
    }
    loop {
        match worker.lockfile.try_lock() {
            Ok(guard) => {
                worker.own(guard);
                if rounds == Rounds::One {
                    return;
                }
            }
            Err(error) if error.is_temporary() => thread::yield_now(),
            Err(error) => worker.witness.report_violation(&format!("try_lock: {error:?}")),
        }
    }
}

struct Worker {
    witness: Witness,
    lockfile: Lockfile,
}

impl Worker {
    /// An owner's work: it checks that it is alone and that its name is in the file, and that no step of the
    /// count is lost.
    fn own(&mut self, guard: LockGuard) {
        let number = self.witness.enter();
        match self.lockfile.owner() {
            Ok(Some(pid)) if pid == process::id() => {}
            other => {
                let what = format!("owner, asked by the owner: {other:?}");
                self.witness.report_violation(&what);
            }
        }
        self.witness.leave("own", number);
        if number.is_multiple_of(2) {
            if let Err(error) = guard.unlock() {
                self.witness.report_violation(&format!("unlock: {error:?}"));
            }
        } else if let Err(error) = guard.verify() {
            self.witness.report_violation(&format!("verify: {error:?}"));
        }
    }
}
