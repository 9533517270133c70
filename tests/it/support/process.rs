//! Other processes: this test binary run again, and what is forked from it.

use std::process::Command;
#[cfg(feature = "retry")]
use std::process::Stdio;
use std::{env, fs, thread};

use nix::libc;
use nix::sys::signal::{Signal, kill};
#[cfg(feature = "retry")]
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
#[cfg(feature = "retry")]
use nix::unistd::{ForkResult, fork};

/// This test binary, to run one ignored test in its own process. Its output is not captured.
pub fn this_binary_again(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// Runs an ignored test in its own process.
#[cfg(feature = "retry")]
#[track_caller]
pub fn must_succeed(scenario: &str) {
    let mut command = this_binary_again(scenario);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Forks a child that runs `work`, which must not panic. The parent gets its pid.
#[cfg(feature = "retry")]
pub fn forked(work: impl FnOnce()) -> Pid {
    // SAFETY: the process of a scenario has no thread that could hold a lock at this point.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            exit_at_once(i32::from(result.is_err()))
        }
    }
}

#[cfg(feature = "retry")]
pub fn must_end_well(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

/// Exits without running any destructor, and in a forked child without the rest of the test harness.
pub fn exit_at_once(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Waits until the process or thread with this `stat` file in /proc is in this state, or gone.
pub fn await_state(stat: &str, state: char) {
    let state = format!(") {state} ");
    while fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(&state)) {
        thread::yield_now();
    }
}

/// Waits until a thread of this process sleeps.
#[cfg(feature = "retry")]
pub fn await_sleep_of(thread: Pid) {
    await_state(&format!("/proc/self/task/{thread}/stat"), 'S');
}

/// A process that outlives the peer that forked it. Dropping this kills it and waits for that.
pub struct Survivor(pub u32);

impl Drop for Survivor {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0.cast_signed());
        kill(pid, Signal::SIGKILL).unwrap();
        // This process may not reap it, so it is a zombie, or gone.
        await_state(&format!("/proc/{pid}/stat"), 'Z');
    }
}
