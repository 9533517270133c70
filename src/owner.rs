//! Whether the process that a record names is alive.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Whether `pid` is a running process. If that is not known, it counts as running.
pub(crate) fn is_alive(pid: u32) -> bool {
    exists(pid) && !proc::is_dead(pid)
}

fn exists(pid: u32) -> bool {
    // EPERM comes from another user's process, which is alive.
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// What only /proc shows: `kill` also succeeds for a zombie and for the id of a single thread.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod proc {
    use std::fmt::Display;
    use std::fs::File;
    use std::io::Read as _;
    use std::process;

    /// A process has no threads left while it is being reaped. A status file that was opened before another
    /// thread called execve(2) shows none either. So look again.
    const MAX_LOOKS: usize = 100;

    pub(super) fn is_dead(pid: u32) -> bool {
        for _ in 0..MAX_LOOKS {
            match Status::read(pid) {
                Some(status) if status.field("Threads:") == Some("0") => {}
                Some(status) => {
                    return status.is_not_a_running_process(pid) && shows_our_namespace();
                }
                // The process is hidden from us, unless a zombie has been reaped since `exists` found it.
                None => return !super::exists(pid),
            }
        }
        false
    }

    /// A /proc that was mounted for another pid namespace numbers processes differently, and lists us under
    /// several pids or under another one.
    fn shows_our_namespace() -> bool {
        Status::read("self")
            .is_some_and(|own| own.field("NSpid:") == Some(&process::id().to_string()))
    }

    /// `/proc/PID/status`, as proc(5) describes it.
    struct Status(String);

    impl Status {
        fn read(pid: impl Display) -> Option<Status> {
            let mut bytes = Vec::with_capacity(4096);
            File::open(format!("/proc/{pid}/status")).ok()?.read_to_end(&mut bytes).ok()?;
            Some(Status(String::from_utf8_lossy(&bytes).into_owned()))
        }

        fn is_not_a_running_process(&self, pid: u32) -> bool {
            let is_thread = self.field("Tgid:").is_some_and(|tgid| tgid != pid.to_string());
            // A running process whose first thread has ended looks like a zombie, but has further threads.
            let is_zombie = self.field("State:").is_some_and(|state| state.starts_with(['Z', 'X']))
                && self.field("Threads:") == Some("1");
            is_thread || is_zombie
        }

        fn field(&self, name: &str) -> Option<&str> {
            self.0.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod proc {
    pub(super) fn is_dead(_pid: u32) -> bool {
        false
    }
}
