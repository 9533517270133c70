//! A lock that etcd keeps, for processes of several machines: the same guard, policies and waits.
//!
//! **No lock that is granted for a time can exclude by itself, whatever keeps it.** A process can be stopped, swapped
//! out or cut off for longer than its time, and then goes on where it was, while the next owner works. The guard
//! tells by its own clock that it is [lost](EtcdGuard::is_lost), but between that look and a write any time can
//! pass. Only the store that is written to can refuse such a late write: send the
//! [fencing token](EtcdGuard::fencing_token) along, and let the store take none that is lower than one it has seen.
//! Without such a store the lock is advice: it saves work that would be done twice.
//!
//! This module needs the feature `etcd`, and `https://` servers need `etcd-tls`. The recipe
//! [`leader`](crate::recipes::leader) is a whole program.
//!
//! # Examples
//!
//! One of several machines works at a time. Each write carries the token, and the database refuses one that comes
//! late:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use pidlockfile::etcd::EtcdLock;
//! use pidlockfile::retry::{CancelToken, RetryPolicy};
//! # struct Database;
//! # impl Database {
//! #     fn execute(&self, _sql: &str, _values: &[u64]) -> Result<u64, std::io::Error> { Ok(1) }
//! # }
//! # fn next_result() -> u64 { 1 }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let database = Database;
//! let stop = CancelToken::new()?; // cancelled on SIGTERM, as in the recipe
//! let servers = ["http://etcd1:2379", "http://etcd2:2379", "http://etcd3:2379"];
//! let lock = EtcdLock::new(servers, "jobs/nightly")?;
//! let guard = RetryPolicy::daemon().run().cancel_on(&stop).acquire(&lock)?;
//!
//! while !guard.is_lost() && !stop.is_cancelled() {
//!     let (result, token) = (next_result(), guard.fencing_token());
//!     let written = database.execute(
//!         "UPDATE nightly SET result = $1, token = $2 WHERE token <= $2",
//!         &[result, token],
//!     )?;
//!     if written == 0 {
//!         return Err("another process owns the job by now".into());
//!     }
//! }
//! guard.unlock()?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! A *lease* is a time that etcd grants and that a thread of the guard renews. Each process that wants the lock puts
//! a key `NAME/…` under its lease, and the oldest key owns the lock; its revision is the fencing token. When the
//! owner's key is deleted, by its release or with its lease, etcd tells the one process that is next in line.
//! [`EtcdLock::try_lock`] puts no key if there is one already.
//!
//! # Guarantees
//!
//! - Tokens grow from owner to owner, and no two owners share one.
//! - A guard is lost before the server can give the lock away: it counts its time from before each renewal is sent, on
//!   a clock that goes on in suspend. No clock of another machine is read.
//! - A lost guard stays lost. The same lease is never taken up again.
//! - Waiters are served in the order in which they came, and one is woken at a time.
//! - A request that gets no answer is undone in the background, so that an error leaves no lock behind.
//! - One server that answers and has a majority behind it suffices; each is asked in turn.
//! - A child made by fork(2) that drops its copy of the guard frees nothing.
//!
//! # Limits
//!
//! - **A crash.** The lock of a process that is killed stays locked until its lease is over, and so does the place
//!   of one that waits: those behind it wait for as long. The same is true of a process that ends in the middle of a
//!   request.
//! - **A stopped waiter.** One that was stopped for longer than its lease stands in the line anew, at its end.
//! - **Old leaders.** A leader of etcd that was cut off, or whose disk is slow, can end a lease too early
//!   (etcd issues 15247 and 16822). [`EtcdGuard::verify`] asks; the token protects.
//! - **A deleted key.** If somebody deletes the owner's key (`etcdctl del`), another process gets the lock at once. The
//!   guard is lost with its next renewal, within a third of its time; [`EtcdGuard::verify`] and the store know at once.
//! - **Delays.** A process in line is told of its turn. It asks by itself every few seconds only, whatever the delays of
//!   its policy.
//! - **Names that nest.** The keys of `jobs/nightly` are among those of `jobs`, so each keeps the other out. Choose
//!   names so that none begins with another one and a slash.
//! - **Drop** waits for the server's answer, as [`EtcdGuard`] says.
//!
//! # Servers
//!
//! etcd 3.4 or later, by the JSON gateway at its client URLs, which is on unless `--enable-grpc-gateway=false`.
//! Let it compact its history (`--auto-compaction-retention`): each acquisition leaves a key behind there, and the
//! next one of that name takes longer. Proxies that the environment names are not used. Before 3.4.42, 3.5.28 and 3.6.9, anyone who reaches the port can
//! revoke any lease, without logging in (CVE-2026-33413).
//!
//! | with | mind |
//! |---|---|
//! | users switched on | The user's role needs `readwrite` on the prefix `NAME/` |
//! | `--client-cert-auth` | The servers' own certificate must allow client authentication, too: the gateway shows it to its own server |
//! | both | The client's certificate must have no common name (CN): the gateway refuses one that has |
//!
//! # Other programs
//!
//! `etcdctl lock NAME` and Go's `clientv3/concurrency` use the same keys: each keeps the other out, and they stand in
//! one line.

// In the order in which data flows: no file names one above it.
mod lock;
mod line;
mod waiter;
mod exchange;
mod guard;
mod lease;
mod deletion;
mod keys;
mod revocation;
mod client;
mod resolver;
#[cfg(feature = "etcd-tls")]
mod probe;
mod settings;
#[cfg(feature = "etcd-tls")]
mod tls;
mod answer;
mod error;
mod threads;
mod clock;

pub use error::EtcdError;
pub use guard::EtcdGuard;
pub use lock::{EtcdLock, EtcdOwner};
