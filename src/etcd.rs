//! A lock that etcd keeps, for processes of several machines.

// In the order in which data flows: no file names one above it.
mod lock;
mod line;
mod waiter;
mod exchange;
mod guard;
mod lease;
mod deletion;
mod keys;
mod client;
mod resolver;
#[cfg(feature = "etcd-tls")]
mod probe;
mod settings;
#[cfg(feature = "etcd-tls")]
mod tls;
mod answer;
mod error;
mod clock;

pub use error::EtcdError;
pub use guard::EtcdGuard;
pub use lock::{EtcdLock, EtcdOwner};
