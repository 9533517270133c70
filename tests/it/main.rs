//! The tests, a module for each behaviour. All go through the public API.

mod peer;
mod refuse;
mod sandbox;
mod trace;

mod agreement;
mod crash;
mod costs;
mod errors;
mod exclusion;
mod fallback;
#[cfg(target_arch = "x86_64")]
mod faults;
mod flock;
mod fork;
mod interop;
#[cfg(target_arch = "x86_64")]
mod nfs;
mod paths;
mod record;
mod rogue;
mod schedule;
mod stale;
