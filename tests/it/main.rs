//! The tests, a module for each behaviour. All go through the public API.

mod support;

mod agreement;
mod autotraits;
#[cfg(feature = "retry")]
mod cancel;
mod crash;
mod costs;
#[cfg(feature = "retry")]
mod daemon;
mod data;
#[cfg(all(feature = "retry", target_os = "linux"))]
mod double_fork;
mod errors;
mod exclusion;
mod fallback;
#[cfg(target_arch = "x86_64")]
mod faults;
mod flock;
mod fork;
#[cfg(target_os = "linux")]
mod holder;
mod interop;
mod leftover;
#[cfg(feature = "retry")]
mod line;
#[cfg(feature = "retry")]
mod mounted;
#[cfg(target_arch = "x86_64")]
mod nfs;
mod papers;
mod paths;
#[cfg(all(feature = "retry", target_os = "linux"))]
mod recipes;
mod record;
#[cfg(feature = "retry")]
mod retry;
#[cfg(feature = "tokio")]
mod retry_async;
#[cfg(feature = "retry")]
mod retry_policy;
mod retry_layers;
#[cfg(feature = "serde")]
mod retry_serde;
#[cfg(feature = "tracing")]
mod retry_tracing;
mod rogue;
mod schedule;
mod stale;
mod support_layers;
mod users;
#[cfg(all(feature = "retry", target_os = "linux"))]
mod wake;
#[cfg(feature = "retry")]
mod with_lock;
