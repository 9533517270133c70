//! What a hook learns before a sleep.

use std::time::Duration;

use crate::retry::Temporary;

/// A failed attempt that another one will follow, as [`Retry::on_wait`](crate::retry::Retry::on_wait)
/// hands it to its hook.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt<'a, E> {
    /// Which attempt it was; the first is 1.
    pub number: u32,
    /// Why it failed.
    pub error: &'a E,
    /// How long the run has lasted.
    pub elapsed: Duration,
    /// How long it is until the next attempt, unless news of the lock ends the sleep early. The time that
    /// the hook takes is part of it.
    pub next_delay: Duration,
}

impl<E: Temporary> Attempt<'_, E> {
    /// Returns the process that stands in the way, if the error knows it.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.error.owner()
    }
}
