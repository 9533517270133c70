//! The place of a run in the line of a lock that is kept elsewhere.

mod memory;

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use pidlockfile::retry::{BoxedPlace, CancelToken, GaveUp, Place, RetryPolicy, TryLock};

use memory::{MemoryLock, Ticket};

const SOON: Duration = Duration::from_secs(20);

fn daemon() -> RetryPolicy {
    RetryPolicy::daemon()
}

fn until(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < SOON, "it never came about");
        thread::yield_now();
    }
}

fn frozen() -> MemoryLock {
    let lock = MemoryLock::default();
    lock.keeper().is_frozen = true;
    lock
}

fn held(lock: &MemoryLock) -> Ticket {
    daemon().run().acquire(lock).unwrap()
}

#[test]
fn waiters_are_served_in_line_and_only_the_next_one_wakes() {
    const WAITERS: usize = 16;
    let lock = MemoryLock::default();
    let guard = held(&lock);
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        for waiter in 0..WAITERS {
            let (lock, served) = (&lock, served.clone());
            scope.spawn(move || {
                let _guard = held(lock);
                served.send(waiter).unwrap();
            });
            until(|| lock.keeper().line.len() == waiter + 2);
        }
        drop(guard);
    });
    assert!(order.try_iter().eq(0..WAITERS));
    // Each waiter stood in line and was woken once: no rival's turn woke it.
    assert_eq!(lock.keeper().asked, 1 + 2 * WAITERS);
}

#[test]
fn a_deadline_ends_an_attempt_that_is_not_answered() {
    let lock = frozen();
    let policy = RetryPolicy::default().with_max_elapsed(Duration::from_millis(250));
    let error = policy.run().on_wait(|_| unreachable!()).acquire(&lock).unwrap_err();
    assert_eq!((error.reason, error.attempts, &error.last), (GaveUp::Deadline, 1, &None));
    assert!(error.elapsed >= Duration::from_millis(250));
    let text = error.to_string();
    assert!(
        text.starts_with("gave up after ") && text.ends_with(" and 1 attempt: no answer"),
        "{text}"
    );
    assert!(lock.keeper().line.is_empty());
}

#[test]
fn a_token_ends_an_attempt_that_is_not_answered() {
    let lock = frozen();
    let token = CancelToken::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            until(|| lock.keeper().asked > 0);
            token.cancel();
        });
        let error = daemon().run().cancel_on(&token).acquire(&lock).unwrap_err();
        assert_eq!((error.reason, error.attempts, &error.last), (GaveUp::Cancelled, 1, &None));
        assert!(error.to_string().ends_with(" 1 attempt: no answer"), "{error}");
    });
    assert!(lock.keeper().line.is_empty());
}

#[test]
fn a_run_that_is_cancelled_in_its_sleep_leaves_the_line() {
    let lock = MemoryLock::default();
    let _held = held(&lock);
    let token = CancelToken::new().unwrap();
    let run = daemon().run().on_wait(|_| token.cancel()).cancel_on(&token);
    let error = run.acquire(&lock).unwrap_err();
    assert_eq!(error.to_string(), "cancelled after 1 attempt: held by ticket 1");
    assert_eq!(lock.keeper().line.len(), 1);
}

#[test]
fn the_hook_is_not_called_once_the_token_is_cancelled() {
    let token = CancelToken::new().unwrap();
    let run = daemon().run().on_wait(|_| unreachable!("it never waits")).cancel_on(&token);
    let error = run.call(|| {
        token.cancel();
        Err::<(), _>(std::io::Error::from(std::io::ErrorKind::WouldBlock))
    });
    let error = error.unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Cancelled, 1));
    assert!(error.last.is_some());
}

#[test]
fn the_hook_is_called_once_for_each_holder_and_gets_its_name() {
    let lock = MemoryLock::default();
    let mut first = Some(held(&lock));
    let call_last = || lock.keeper().line.back_mut().unwrap().1.write_all(&[1]).unwrap();
    let asked = || lock.keeper().asked;
    let mut told = Vec::new();
    thread::scope(|scope| {
        let second = scope.spawn(|| held(&lock));
        until(|| asked() == 2);
        let mut second = Some(second);
        let mut guard = None;
        let run = daemon().run().on_new_owner(|attempt| {
            told.push((attempt.holder().unwrap().to_owned(), attempt.owner()));
            if let Some(second) = second.take() {
                drop(first.take());
                guard = Some(second.join().unwrap());
                call_last();
            } else {
                let guard = guard.take();
                scope.spawn(move || {
                    let before = asked();
                    call_last();
                    // The hook is not called, because the holder is still the same.
                    until(|| asked() > before);
                    drop(guard);
                });
            }
        });
        drop(run.acquire(&lock).unwrap());
    });
    assert_eq!(told, [("ticket 1".to_owned(), None), ("ticket 2".to_owned(), None)]);
}

/// A place whose lock service does not answer at first, neither a request for the lock nor a leave.
struct SlowPlace {
    bell: UnixStream,
    is_asked: bool,
    left: Arc<AtomicUsize>,
}

impl AsFd for SlowPlace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Place for SlowPlace {
    type Guard = ();
    type Error = io::Error;

    fn poll_lock(&mut self) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_asked, true) {
            return Poll::Pending;
        }
        Poll::Ready(Err(io::ErrorKind::WouldBlock.into()))
    }

    fn poll_leave(&mut self) -> Poll<()> {
        if self.left.fetch_add(1, Ordering::SeqCst) == 0 { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Hands out such places, and counts how often one was asked to leave.
struct SlowLock(Arc<AtomicUsize>);

impl TryLock for SlowLock {
    type Guard = ();
    type Error = io::Error;

    fn try_lock(&self) -> io::Result<()> {
        unreachable!()
    }

    fn line_up(&self) -> Option<BoxedPlace<'_, (), io::Error>> {
        // The other end is closed, so this end is readable all the time.
        let (bell, _) = UnixStream::pair().unwrap();
        Some(Box::new(SlowPlace { bell, is_asked: false, left: Arc::clone(&self.0) }))
    }
}

#[test]
fn a_run_that_gives_up_waits_until_it_has_left_the_line() {
    let lock = SlowLock(Arc::default());
    let token = CancelToken::new().unwrap();
    let run = daemon().run().on_wait(|_| token.cancel()).cancel_on(&token);
    assert!(run.acquire(&lock).unwrap_err().is_cancelled());
    assert_eq!(lock.0.load(Ordering::SeqCst), 2);
}

#[test]
fn a_single_attempt_is_given_time_for_an_answer() {
    let policy = RetryPolicy::default().with_max_elapsed(Duration::ZERO);
    let error = policy.run().acquire(&SlowLock(Arc::default())).unwrap_err();
    assert_eq!((error.reason, error.attempts), (GaveUp::Deadline, 1));
    assert!(error.last.is_some());
}

#[test]
fn a_policy_without_wake_ups_sleeps_its_delays_in_line() {
    let lock = SlowLock(Arc::default());
    let policy = RetryPolicy::fixed(Duration::from_millis(1)).to_builder();
    let policy = policy.max_attempts(3).wake_on_release(false).build().unwrap();
    assert_eq!(policy.run().acquire(&lock).unwrap_err().attempts, 3);
}

#[cfg(feature = "tokio")]
mod in_a_task {
    use super::*;

    #[tokio::test]
    async fn waiters_are_served_in_line_on_one_thread() {
        let lock = MemoryLock::default();
        let guard = held(&lock);
        let mut tasks = tokio::task::JoinSet::new();
        let (served, order) = mpsc::channel();
        for waiter in 0..16 {
            let (own, served) = (lock.clone(), served.clone());
            tasks.spawn(async move {
                let guard = daemon().run().acquire_async(own).await.unwrap();
                served.send(waiter).unwrap();
                drop(guard);
            });
            while lock.keeper().line.len() < waiter + 2 {
                tokio::task::yield_now().await;
            }
        }
        drop(guard);
        tasks.join_all().await;
        assert!(order.try_iter().eq(0..16));
        assert_eq!(lock.keeper().asked, 1 + 2 * 16);
    }

    #[tokio::test]
    async fn an_attempt_that_is_not_answered_blocks_no_other_task() {
        let lock = frozen();
        let beats = AtomicUsize::new(0);
        let run = daemon().run().acquire_async(&lock);
        let heart = async {
            while beats.fetch_add(1, Ordering::Relaxed) < 100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = run => unreachable!("nobody answers"),
            () = heart => {}
        }
        assert!(lock.keeper().asked > 0);
        // The future was dropped, and its place with it.
        assert!(lock.keeper().line.is_empty());
    }

    #[tokio::test]
    async fn a_token_and_a_deadline_end_an_attempt_that_is_not_answered() {
        let lock = frozen();
        let policy = RetryPolicy::default().with_max_elapsed(Duration::from_millis(20));
        let late = policy.run().acquire_async(&lock).await.unwrap_err();
        assert_eq!((late.reason, late.attempts, late.last), (GaveUp::Deadline, 1, None));
        let token = CancelToken::new().unwrap();
        let run = daemon().run().cancel_on(&token);
        let cancel = async {
            while lock.keeper().asked < 4 {
                tokio::task::yield_now().await;
            }
            token.cancel();
        };
        let (error, ()) = tokio::join!(run.acquire_async(&lock), cancel);
        let error = error.unwrap_err();
        assert_eq!((error.reason, error.attempts, error.last), (GaveUp::Cancelled, 1, None));
        assert!(lock.keeper().line.is_empty());
    }
}
