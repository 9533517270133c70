//! What the tests use. Nothing here imports a test.

pub mod sandbox;

pub mod ability;
pub mod allocations;
#[cfg(feature = "retry")]
pub mod example;
#[cfg(feature = "tracing")]
pub mod listener;
pub mod process;
pub mod program;
pub mod refuse;
#[cfg(feature = "retry")]
pub mod waiting;

mod commands;
pub mod peer;
pub mod trace;
