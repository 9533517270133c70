//! The sleep between two attempts. What else may end it early, such as news of the lock, belongs here.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::retry::CancelToken;

/// How long a token goes unnoticed where the process has no file descriptors left to wait on it.
pub(super) const BLIND_SLEEP: Duration = Duration::from_millis(10);

/// Sleeps until the run that began at `started` is `end` old, or `token` is cancelled.
///
/// Both are compared and not added: `started + Duration::MAX` would panic.
pub(super) fn until(started: Instant, end: Duration, token: Option<&CancelToken>) {
    let Some(token) = token else {
        thread::sleep(end.saturating_sub(started.elapsed()));
        return;
    };
    let mut alarm = token.own_alarm();
    loop {
        let left = end.saturating_sub(started.elapsed());
        if token.is_cancelled() || left.is_zero() {
            return;
        }
        match alarm.map(|alarm| poll_for(alarm, left)) {
            Some(Ok(0) | Err(Errno::EINTR)) => {}
            // Ready, and not cancelled: another process in a nested pid namespace has our pid and rang. Without
            // the alarm we notice late, with it we would spin.
            Some(_) => alarm = None,
            None => thread::sleep(left.min(BLIND_SLEEP)),
        }
    }
}

fn poll_for(alarm: BorrowedFd<'_>, left: Duration) -> Result<i32, Errno> {
    // Rounded up: rounded down, the last millisecond would be a busy loop.
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(alarm, PollFlags::POLLIN)], timeout)
}
