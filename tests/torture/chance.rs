//! Random numbers, which decide which worker a fight harms, and when.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

pub fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

pub fn random_index(below: usize) -> usize {
    usize::try_from(random(below as u64)).unwrap()
}
