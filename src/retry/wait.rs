//! The sleep between two attempts, and what ends it early: a cancelled token, news of the lock.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::poll::ppoll;
use nix::poll::{PollFd, PollFlags};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use nix::poll::{PollTimeout, poll};

use crate::retry::wake::Wake;
use crate::retry::watch::Listen;
use crate::retry::{CancelToken, Watch};

/// How long a token goes unnoticed where the process has no file descriptors left to wait on it.
pub(super) const BLIND_SLEEP: Duration = Duration::from_millis(10);

/// Sleeps until the run that began at `started` is `end` old, `token` is cancelled or news of the lock is a
/// reason to try it; whether that came before the end.
///
/// Ages are compared and not added: `started + Duration::MAX` would panic.
pub(super) fn until<S: Fn() -> Option<Watch>>(
    started: Instant,
    end: Duration,
    token: Option<&CancelToken>,
    wake: &mut Wake<S>,
) -> bool {
    loop {
        let nap = wake.nap();
        let nap_end = nap.end(started.elapsed(), end);
        let woken = sleep(started, nap_end, token, wake.watch(), nap.listen);
        if !wake.sleeps_on(woken, started.elapsed()) {
            return woken || nap_end < end;
        }
    }
}

/// Whether it was `watch` that ended it.
fn sleep(
    started: Instant,
    end: Duration,
    token: Option<&CancelToken>,
    mut watch: Option<&Watch>,
    listen: Listen,
) -> bool {
    if listen == Listen::All && watch.is_some_and(Watch::is_spent) {
        return true;
    }
    let mut alarm = token.and_then(CancelToken::own_alarm);
    loop {
        let mut left = end.saturating_sub(started.elapsed());
        if token.is_some_and(CancelToken::is_cancelled) || left.is_zero() {
            return false;
        }
        if token.is_some() && alarm.is_none() {
            left = left.min(BLIND_SLEEP);
        }
        let news = watch.into_iter().flat_map(|watch| watch.descriptors(listen));
        let mut waited_for: Vec<_> = alarm.into_iter().chain(news).map(poll_fd).collect();
        if waited_for.is_empty() {
            thread::sleep(left);
            continue;
        }
        match poll_for(&mut waited_for, left) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) if waited_for[alarm.iter().len()..].iter().any(is_ready) => return true,
            // Ready, and not cancelled: another process in a nested pid namespace has our pid and rang. Without
            // the alarm we notice late, with it we would spin.
            Ok(_) => alarm = None,
            Err(_) => (alarm, watch) = (None, None),
        }
    }
}

fn poll_fd(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(descriptor, PollFlags::POLLIN)
}

fn is_ready(polled: &PollFd<'_>) -> bool {
    // `None` for bits that nix does not know: it is something.
    polled.any().unwrap_or(true)
}

/// To the nanosecond where there is ppoll(2): some naps are shorter than a millisecond.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn poll_for(waited_for: &mut [PollFd<'_>], left: Duration) -> Result<i32, Errno> {
    // 68 years: a time_t of 32 bits holds no more.
    let left = left.min(Duration::from_secs(i32::MAX.unsigned_abs().into()));
    ppoll(waited_for, Some(left.into()), None)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn poll_for(waited_for: &mut [PollFd<'_>], left: Duration) -> Result<i32, Errno> {
    // Rounded up: rounded down, the last millisecond would be a busy loop.
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    poll(waited_for, timeout)
}
