//! What the tests stand on. It imports no test.

pub mod etcdctl;
#[path = "../it/support/example.rs"]
pub mod example;
pub mod fake;
pub mod go;
pub mod http;
pub mod locks;
pub mod peer;
#[allow(dead_code, reason = "tests/it uses all of it")]
#[path = "../it/support/program.rs"]
pub mod program;
pub mod proxy;
pub mod server;
pub mod start;
pub mod store;
pub mod tls;
pub mod wait;
