//! Holding the lock: is it still ours, what proves it to others, and how it ends.

use std::fmt;
#[cfg(feature = "tokio")]
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
/// A thread of its own renews the lease. Dropping the guard ends that, revokes the lease and waits for the answer,
/// at most the [request timeout](crate::etcd::EtcdLock::request_timeout) for each server. If none answers, the
/// thread goes on trying; if the process ends then, the lock stays locked until the lease is over.
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
            return Err(client.settings.error("lock", Failure::ran_out()));
        }
        lease.guards(&own);
        let (client, lease) = (Arc::clone(client), Arc::clone(lease));
        Ok(EtcdGuard { client, lease, own, is_released: false })
    }

    /// Returns the number that proves to a store who owned the lock last: it grows from owner to owner.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = lock.try_lock()?;
    /// println!("UPDATE … WHERE token <= {}", guard.fencing_token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.own.created
    }

    /// Returns the key in etcd that is the lock, for `etcdctl get` or a transaction of the caller's own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = lock.try_lock()?;
    /// println!("etcdctl get {}", guard.key());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &str {
        &self.own.key
    }

    /// Returns whether the lock may be another's by now.
    ///
    /// It asks the clock and not the server, so it returns at once. Once lost, the guard stays lost.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = lock.try_lock()?;
    /// while !guard.is_lost() {
    ///     // … a piece of work that is soon done …
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Returns a token that is cancelled when the lock is lost.
    ///
    /// Its descriptor becomes readable then, and it ends a wait that it was given to.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = lock.try_lock()?;
    /// while !guard.lost().wait_timeout(Duration::from_secs(60)) {
    ///     // … the work that is due every minute …
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = lock.try_lock()?;
    /// guard.verify()?;
    /// // … the work that must not be done twice …
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify(&self) -> Result<(), EtcdError> {
        if self.is_lost() {
            return Err(self.lease.loss());
        }
        let found = read(&self.client, &self.own.key, None)
            .map_err(|failure| self.client.settings.error("verify", failure))?;
        if !self.own.is_same_as(found.as_ref()) {
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
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = lock.try_lock()?;
    /// guard.unlock()?;
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    /// use pidlockfile::retry::{RetryPolicy, acquire_with_retry_async};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// let guard = acquire_with_retry_async(&lock, &RetryPolicy::daemon()).await?;
    /// guard.unlock_async().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tokio")]
    pub async fn unlock_async(self) -> Result<(), EtcdError> {
        let name = self.client.settings.name.clone();
        match tokio::task::spawn_blocking(move || self.unlock()).await {
            Ok(released) => released,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime has ended and has dropped the guard, which released the lock.
                Err(error) => {
                    let source = io::Error::other(error);
                    Err(EtcdError::Io { action: "wait for the release of", name, source })
                }
            },
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
