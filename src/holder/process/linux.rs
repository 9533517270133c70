//! A process by `pidfd_open(2)`, and its open files by proc(5).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
pub(in crate::holder) use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::holder::process::Doubt;
use crate::holder::process::open_files::{Directory, Hold, Sought};
use crate::incumbent::Incumbent;

/// A process that had `pid` when the pidfd was made.
#[derive(Debug)]
pub(in crate::holder) struct Process {
    pid: u32,
    pidfd: OwnedFd,
}

impl Process {
    pub(in crate::holder) fn open(pid: u32) -> Result<Process, Doubt> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Doubt::NoPid)?;
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Process { pid, pidfd }),
            // EINVAL and ENOENT mean the id of a thread that is not a process.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Err(Doubt::Ended),
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Err(Doubt::NoPidfd),
            Err(errno) => Err(Doubt::Io("open a pidfd of the owner of", errno.into())),
        }
    }

    /// Checks that this process has the same file open, with the exclusive kernel lock.
    ///
    /// /proc goes by the number: what it shows is true of this process if the process has not ended afterwards.
    pub(in crate::holder) fn proves_to_hold(&self, file: &Incumbent) -> Result<(), Doubt> {
        match self.hold(file) {
            Ok(Hold::Locked) => Ok(()),
            _ if self.has_ended() => Err(Doubt::Ended),
            Ok(Hold::LockedForReading) => Err(Doubt::OnlyReads),
            Ok(Hold::None) => Err(Doubt::NotTheHolder),
            Err(doubt) => Err(doubt),
        }
    }

    fn hold(&self, file: &Incumbent) -> Result<Hold, Doubt> {
        let directory = Directory::of(self.pid, self.as_fd())?;
        let sought = Sought::new(file)?;
        let first = directory.hold(&sought);
        if matches!(first, Ok(Hold::Locked)) {
            return first;
        }
        // A thread can have its own descriptors, and the first thread can have ended.
        let mut holds = vec![first];
        for thread in directory.threads()? {
            holds.push(thread.hold(&sought));
            if matches!(holds.last(), Some(Ok(Hold::Locked))) {
                break;
            }
        }
        holds.into_iter().reduce(Hold::or).expect("the first thread's is there")
    }

    pub(in crate::holder) fn pid(&self) -> u32 {
        self.pid
    }

    pub(in crate::holder) fn has_ended(&self) -> bool {
        self.wait(Some(Duration::ZERO), None).unwrap_or(false)
    }

    pub(in crate::holder) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent.map_err(io::Error::from),
        }
    }

    /// Whether it ended before the limit, and before `alarm` was readable.
    pub(in crate::holder) fn wait(
        &self,
        limit: Option<Duration>,
        alarm: Option<BorrowedFd<'_>>,
    ) -> io::Result<bool> {
        let started = Instant::now();
        let pidfd = self.as_fd();
        let alarm = alarm.unwrap_or(pidfd);
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            // A limit too long for the kernel means for ever.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut polled =
                [PollFd::new(&pidfd, PollFlags::IN), PollFd::new(&alarm, PollFlags::IN)];
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) => return Ok(!polled[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    pub(in crate::holder) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
