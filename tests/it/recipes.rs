//! What the recipes of the documentation say, tried.

mod containers;
mod cron_job;
mod exec;
mod service;
