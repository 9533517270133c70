//! Holding the lock: is it still ours, what proves it to others, and how it ends.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::etcd::answer::Failure;
use crate::etcd::client::Client;
use crate::etcd::error::EtcdError;
use crate::etcd::keys::{Entry, read};
use crate::etcd::lease::Lease;
use crate::retry::CancelToken;

/// The lock, held until this value is dropped, or until it is [lost](EtcdGuard::lost).
///
/// A thread of its own renews the lease. Dropping the guard stops that, revokes the lease and waits for the server's
/// answer, at most the [request timeout](crate::etcd::EtcdLock::request_timeout) for each server; if none answers, the thread goes on
/// trying. Only if the process ends then, the lock stays locked until the lease is over.
/// [`unlock`](EtcdGuard::unlock) does the same and says how it went.
///
/// # Forked children
///
/// A child made by fork(2) has a copy of the guard, but the lock is its parent's: in the child the copy is lost from
/// the start, and its Drop does nothing.
#[must_use = "the lock is released as soon as its guard is dropped; bind it: `let _guard = …`"]
pub struct EtcdGuard {
    client: Arc<Client>,
    lease: Arc<Lease>,
    own: Entry,
    is_released: bool,
}

impl EtcdGuard {
    /// Makes the guard of a key that is first in its line. One whose lease may be over already is none.
    pub(super) fn hand_over(
        client: &Arc<Client>,
        lease: &Arc<Lease>,
        own: Entry,
    ) -> Result<EtcdGuard, EtcdError> {
        if lease.is_lost() {
            lease.abandon();
            let late = io::Error::new(
                io::ErrorKind::TimedOut,
                "the lease ran out before the lock was taken",
            );
            return Err(client.settings.error("lock", Failure::NoAnswer(late)));
        }
        let (client, lease) = (Arc::clone(client), Arc::clone(lease));
        Ok(EtcdGuard { client, lease, own, is_released: false })
    }

    /// Returns the number that proves to a store who owned the lock last: it grows from owner to owner.
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.own.created
    }

    /// Returns the key in etcd that is the lock, for `etcdctl get` or a transaction of the caller's own.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.own.key
    }

    /// Returns whether the lock may be another's by now.
    ///
    /// It asks the clock and not the server, so it returns at once. Once lost, the guard stays lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Returns a token that is cancelled when the lock is lost.
    ///
    /// Its descriptor becomes readable then, and it ends a wait that it was given to.
    #[must_use]
    pub fn lost(&self) -> &CancelToken {
        self.lease.lost()
    }

    /// Asks the server whether this guard still holds the lock.
    ///
    /// # Errors
    ///
    /// [`Lost`](EtcdError::Lost) if it does not; [`Unreachable`](EtcdError::Unreachable) if no server answers, and
    /// the guard may hold the lock or not; [`Refused`](EtcdError::Refused) if the user may not read the key.
    pub fn verify(&self) -> Result<(), EtcdError> {
        if self.is_lost() {
            return Err(self.lease.loss());
        }
        let found = read(&self.client, &self.own.key)
            .map_err(|failure| self.client.settings.error("verify", failure))?;
        if found.is_none_or(|found| found.created != self.own.created) {
            self.lease.lose();
        }
        if self.is_lost() { Err(self.lease.loss()) } else { Ok(()) }
    }

    /// Releases the lock, and says how it went.
    ///
    /// # Errors
    ///
    /// [`Lost`](EtcdError::Lost) if the guard was lost before; [`Unreachable`](EtcdError::Unreachable) if no server
    /// answers, and a thread goes on trying until the lease is over; [`Refused`](EtcdError::Refused) if the user may
    /// not delete the key.
    pub fn unlock(mut self) -> Result<(), EtcdError> {
        self.is_released = true;
        self.lease.release()
    }

    /// Releases the lock as [`unlock`](EtcdGuard::unlock) does, and blocks no thread of the runtime.
    ///
    /// It needs the feature `tokio`. The lock is released even if the future is dropped once it was polled.
    ///
    /// # Errors
    ///
    /// As [`unlock`](EtcdGuard::unlock).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[cfg(feature = "tokio")]
    pub async fn unlock_async(self) -> Result<(), EtcdError> {
        match tokio::task::spawn_blocking(move || self.unlock()).await {
            Ok(released) => released,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for EtcdGuard {
    fn drop(&mut self) {
        if !self.is_released {
            // In a forked child it does nothing.
            let _ = self.lease.release();
        }
    }
}

impl fmt::Debug for EtcdGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdGuard")
            .field("key", &self.own.key)
            .field("fencing_token", &self.own.created)
            .field("lost", &self.lease.is_lost())
            .finish_non_exhaustive()
    }
}
