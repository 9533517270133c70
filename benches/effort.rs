//! How long it may take.

use std::env;

/// Whether to take seconds rather than minutes, only to see that all of it works: with
/// `PIDLOCKFILE_BENCH_SHORT`, and where it is not `cargo bench` that runs this.
pub fn is_short() -> bool {
    env::var_os("PIDLOCKFILE_BENCH_SHORT").is_some() || !env::args().any(|word| word == "--bench")
}
