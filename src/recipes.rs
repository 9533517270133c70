//! Whole programs and settings for the common uses of a lock file.
//!
//! Tests compile or run every program here. The settings were tried under systemd 252 and Debian's cron.
//!
//! The programs that print errors use the crate `anyhow`, and those that handle signals use `signal-hook`. This
//! module is for reading: it holds no code, and no build contains it.

#[doc = include_str!("recipes/cron_job.md")]
#[doc = "\n```no_run"]
#[doc = include_str!("../examples/cron_job.rs")]
#[doc = "```"]
pub mod cron_job {}

#[doc = include_str!("recipes/systemd_service.md")]
#[doc = "\n```no_run"]
#[doc = include_str!("../examples/service.rs")]
#[doc = "```"]
pub mod systemd_service {}

#[doc = include_str!("recipes/forking_daemon.md")]
#[doc = "\n```no_run"]
#[doc = include_str!("../examples/double_fork.rs")]
#[doc = "```"]
pub mod forking_daemon {}

#[doc = include_str!("recipes/containers.md")]
pub mod containers {}

#[doc = include_str!("recipes/two_users.md")]
pub mod two_users {}

#[doc = include_str!("recipes/stopping_the_owner.md")]
pub mod stopping_the_owner {}

#[cfg(feature = "tokio")]
#[doc = include_str!("recipes/tokio_service.md")]
#[doc = "\n```no_run"]
#[doc = include_str!("../examples/tokio_service.rs")]
#[doc = "```"]
pub mod tokio_service {}

#[cfg(feature = "etcd")]
#[doc = include_str!("recipes/leader.md")]
#[doc = "\n```no_run"]
#[doc = include_str!("../examples/leader.rs")]
#[doc = "```"]
pub mod leader {}

#[doc = include_str!("recipes/testing.md")]
#[cfg_attr(feature = "tokio", doc = include_str!("recipes/paused_clock.md"))]
pub mod testing {}

#[doc = include_str!("recipes/other_programs.md")]
pub mod other_programs {}
