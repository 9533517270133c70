//! The same wait under tokio.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::Error;
use crate::holder::Holder;

impl Holder {
    /// Waits as [`wait`](Holder::wait) does, without blocking the task's thread.
    ///
    /// It uses one of the runtime's blocking threads until it ends or is dropped, and needs neither the
    /// runtime's I/O nor its timer. To wait for many processes, give their pidfds to tokio's `AsyncFd` instead.
    ///
    /// # Errors
    ///
    /// [`Io`](Error::Io) as in [`wait`](Holder::wait), and outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("wait_async.pid");
    /// let lockfile = pidlockfile::Lockfile::new(path)?;
    /// if let Some(holder) = lockfile.holder()? {
    ///     holder.terminate()?;
    ///     println!("ended: {}", holder.wait_async(Some(Duration::from_secs(5))).await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_async(&self, limit: Option<Duration>) -> Result<bool, Error> {
        self.wait_in_a_blocking_thread(limit).await.map_err(self.wait_error())
    }

    async fn wait_in_a_blocking_thread(&self, limit: Option<Duration>) -> io::Result<bool> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let process = Arc::clone(&self.process);
        // When this future is dropped, the other end is closed, which ends the wait in the thread.
        let (dropped, _alive) = io::pipe()?;
        let wait = move || process.wait(limit, Some(dropped.as_fd()));
        runtime.spawn_blocking(wait).await.map_err(io::Error::other)?
    }
}
