//! Addresses of servers, without a thread and a lookup for each request.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::etcd::clock::Moment;

/// So long an address is believed that was looked up. A dead one costs an attempt each time.
const BELIEVED: Duration = Duration::from_secs(5);

/// ureq asks before it looks for an open connection, and its own resolver starts a thread for each question that has
/// a time limit: as expensive as the request itself.
#[derive(Debug, Default)]
pub(super) struct CachingResolver {
    inner: DefaultResolver,
    known: Mutex<Vec<(String, ResolvedSocketAddrs, Moment)>>,
}

impl Resolver for CachingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let named = uri.scheme().zip(uri.authority());
        let Some(name) =
            named.and_then(|(scheme, host)| DefaultResolver::host_and_port(scheme, host))
        else {
            return self.inner.resolve(uri, config, timeout);
        };
        if let Ok(address) = name.parse::<SocketAddr>() {
            let mut addresses = self.inner.empty();
            addresses.push(address);
            return Ok(addresses);
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            known().iter().find(|it| it.0 == name && !it.2.has_come()).map(|it| it.1.clone());
        if let Some(addresses) = found {
            return Ok(addresses);
        }
        let addresses = self.inner.resolve(uri, config, timeout).map_err(|error| match error {
            // So that it is told from an error of a connection.
            Error::Io(error) => io::Error::new(io::ErrorKind::NotFound, error).into(),
            error => error,
        })?;
        let mut known = known();
        known.retain(|it| it.0 != name);
        known.push((name, addresses.clone(), Moment::now().plus(BELIEVED)));
        Ok(addresses)
    }
}
