//! What the tests stand on. It imports no test.

pub mod etcdctl;
pub mod fake;
pub mod go;
pub mod http;
pub mod locks;
pub mod peer;
pub mod proxy;
pub mod server;
pub mod start;
pub mod store;
pub mod tls;
pub mod wait;
