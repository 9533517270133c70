//! The lock kept by etcd, against real servers. All tests go through the public API.

mod support;

mod attack;
mod auth;
mod cluster;
mod compat;
mod errors;
mod fork;
mod guard;
mod harness;
mod leader;
mod leases;
mod limits;
mod line;
mod lost;
mod swallowed;
mod torture;
#[cfg(feature = "etcd-tls")]
mod tls;
