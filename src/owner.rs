//! The owner: the record that names it, and whether it is alive.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// No line with a pid is longer than this; what lies behind is not read.
const READ_MAX_BYTES: usize = 64;

/// What a lock file holds: `PID\n`, decimal and unpadded.
///
/// Go reads `0123` as octal, systemd reads the first line, and `kill $(cat FILE)` all of them: this
/// form means the same to each.
pub(crate) struct Record {
    text: [u8; "4294967295\n".len()],
    len: usize,
}

impl Record {
    pub(crate) fn of(pid: u32) -> Record {
        let mut text = [0; _];
        let mut rest = &mut text[..];
        writeln!(rest, "{pid}").expect("the longest pid fits");
        let unused = rest.len();
        Record { len: text.len() - unused, text }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// What a file holds, or the beginning of it.
pub(crate) struct Content {
    bytes: [u8; READ_MAX_BYTES],
    len: usize,
}

impl Content {
    pub(crate) fn of(file: &File) -> io::Result<Content> {
        let mut bytes = [0; READ_MAX_BYTES];
        loop {
            match file.read_at(&mut bytes, 0) {
                Ok(len) => return Ok(Content { bytes, len }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The recorded pid, if it is a valid one.
    pub(crate) fn pid(&self) -> Option<u32> {
        parse(&self.bytes[..self.len])
    }
}

/// Reads the first line as FHS 3.0 (3.15, `/run`) asks: blanks around the pid, a missing newline and
/// further lines are let pass.
///
/// Other readers are not all as lenient. After the pid, systemd refuses a blank, and some shells' `kill` a
/// `\r`; with further lines, `kill $(cat FILE)` goes on to signal what else is there. We name the
/// pid all the same: were it no pid, a live owner that knows pid files only would be robbed of its lock,
/// whereas garbage that looks like a live pid only makes others wait. What must not be is that a
/// reader takes the record for another pid than we do. So a leading zero is no pid (to Go and systemd it
/// says octal, to a shell nothing), nor is a sign, a NUL or a second word in the line.
fn parse(record: &[u8]) -> Option<u32> {
    let line = match record.iter().position(|&byte| byte == b'\n') {
        Some(end) => &record[..end],
        None if record.len() < READ_MAX_BYTES => record,
        None => return None,
    };
    let digits = line.trim_ascii();
    if !digits.first()?.is_ascii_digit() || digits[0] == b'0' {
        return None;
    }
    let pid: i32 = str::from_utf8(digits).ok()?.parse().ok()?;
    u32::try_from(pid).ok()
}

/// Whether `pid` is a running process. When in doubt it is.
pub(crate) fn is_alive(pid: u32) -> bool {
    exists(pid) && !proc::is_dead(pid)
}

fn exists(pid: u32) -> bool {
    // EPERM comes from a process of another user, which is as alive as ours.
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// What only /proc can tell: `kill` also succeeds for a zombie and for the id of a mere thread.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod proc {
    use std::fmt::Display;
    use std::fs::File;
    use std::io::Read as _;
    use std::process;

    /// A process seen in the moment when it is reaped has no threads left, and neither has one that another
    /// of its threads has just called execve(2) in, if its status was opened before. Look again.
    const MAX_LOOKS: usize = 100;

    pub(super) fn is_dead(pid: u32) -> bool {
        for _ in 0..MAX_LOOKS {
            match Status::read(pid) {
                Some(status) if status.field("Threads:") == Some("0") => {}
                Some(status) => {
                    return status.is_not_a_running_process(pid) && shows_our_namespace();
                }
                // Hidden from us, unless a zombie has been reaped since it was seen to exist.
                None => return !super::exists(pid),
            }
        }
        false
    }

    /// A /proc that was mounted for another pid namespace numbers other processes, and lists us under
    /// more than one pid, or another.
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
            // A running process whose first thread has ended shows as a zombie with further threads.
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
