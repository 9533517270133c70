//! A lock kept in memory: everything that a user's own lock must implement.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::{fd::AsFd, fd::BorrowedFd, unix::net::UnixStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::{task::Poll, time::Duration};

use pidlockfile::retry::{BoxedPlace, Place, Temporary, TryLock};

#[derive(Clone, Debug, Default)]
pub struct MemoryLock(Arc<Mutex<Keeper>>);

#[derive(Debug, Default)]
pub struct Keeper {
    /// Each ticket, and the descriptor that wakes its holder. The first one has the lock.
    pub line: VecDeque<(u64, UnixStream)>,
    pub asked: usize,
    pub is_frozen: bool,
    last: u64,
}

/// A place in the line; at its head it becomes the guard. Dropping it leaves the line.
#[derive(Debug)]
pub struct Ticket(u64, MemoryLock);

struct MemoryPlace(Option<Ticket>, UnixStream);

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("held by {0}")]
pub struct Held(String);

impl MemoryLock {
    pub fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.0.lock().unwrap()
    }
    fn draw(&self, bell: UnixStream) -> Ticket {
        let mut keeper = self.keeper();
        keeper.last += 1;
        let number = keeper.last;
        keeper.line.push_back((number, bell));
        Ticket(number, self.clone())
    }
}

impl TryLock for MemoryLock {
    type Guard = Ticket;
    type Error = Held;
    fn try_lock(&self) -> Result<Ticket, Held> {
        panic!("a run that has a place asks for nothing else")
    }
    fn line_up(&self) -> Option<BoxedPlace<'_, Ticket, Held>> {
        let (ours, keepers) = UnixStream::pair().ok()?;
        ours.set_nonblocking(true).ok()?;
        Some(Box::new(MemoryPlace(Some(self.draw(keepers)), ours)))
    }
}

impl Place for MemoryPlace {
    type Guard = Ticket;
    type Error = Held;
    fn poll_lock(&mut self) -> Poll<Result<Ticket, Held>> {
        while self.1.read(&mut [0; 16]).is_ok() {}
        let Ticket(number, lock) = self.0.as_ref().unwrap();
        let mut keeper = lock.keeper();
        keeper.asked += 1;
        let first = keeper.line[0].0;
        match (keeper.is_frozen, first == *number) {
            (true, _) => Poll::Pending,
            (false, true) => {
                drop(keeper);
                Poll::Ready(Ok(self.0.take().unwrap()))
            }
            (false, false) => Poll::Ready(Err(Held(format!("ticket {first}")))),
        }
    }
}

impl AsFd for MemoryPlace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut keeper = self.1.keeper();
        keeper.line.retain(|(ticket, _)| *ticket != self.0);
        keeper.line.front_mut().map(|(_, bell)| bell.write_all(&[1]));
    }
}

impl Temporary for Held {
    fn is_temporary(&self) -> bool {
        true
    }
    fn holder(&self) -> Option<Cow<'_, str>> {
        Some(self.0.as_str().into())
    }
    fn retry_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}
