//! Why a server closed a connection of TLS without a word: a handshake that only listens.
//!
//! In TLS 1.3 a server judges our certificate after we believe the handshake done. A request that is on its way by
//! then meets a closed connection, and mostly hides the reason, which would be retried for ever.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, SignatureScheme};
use ureq::http::Uri;

use crate::etcd::clock::Moment;
use crate::etcd::tls::Tls;

/// The object identifiers of a certificate's extended key usage and of client authentication, in DER.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The reason, if it is the certificates.
pub(super) fn refusal(tls: &Tls, endpoint: &str, limit: Moment) -> Option<String> {
    let uri = endpoint.parse::<Uri>().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let address = (host, uri.port_u16().unwrap_or(443)).to_socket_addrs().ok()?.next()?;
    let left = || Some(limit.left()).filter(|left| !left.is_zero());
    let mut socket = TcpStream::connect_timeout(&address, left()?).ok()?;
    socket.set_read_timeout(Some(left()?)).ok()?;
    socket.set_write_timeout(Some(left()?)).ok()?;
    let identity = Arc::new(Identity { key: tls.key(), is_asked: false.into() });
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(tls.roots())
        .with_client_cert_resolver(Arc::clone(&identity) as _);
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    if let Err(error) = connection.complete_io(&mut socket) {
        return (error.kind() == io::ErrorKind::InvalidData).then(|| error.to_string());
    }
    // The verdict: an alert, or a ticket for the next session.
    if connection.read_tls(&mut socket).is_ok()
        && let Err(error) = connection.process_new_packets()
    {
        return Some(error.to_string());
    }
    let server = connection.peer_certificates()?.first()?;
    let has = |words: &[u8]| server.windows(words.len()).any(|window| window == words);
    let is_asked = identity.is_asked.load(Ordering::Relaxed);
    (is_asked && has(KEY_USAGE) && !has(ANY_USAGE) && !has(CLIENT_AUTH))
        .then(|| "the server's certificate does not allow client authentication".to_owned())
}

/// Notes whether the server asks for a client certificate.
#[derive(Debug)]
struct Identity {
    key: Option<Arc<CertifiedKey>>,
    is_asked: AtomicBool,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        // What is asked for is noted in `resolve`, which is only called if there are some.
        true
    }
}
