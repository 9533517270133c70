//! Certificates: whom to trust, and who we are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::etcd::error::EtcdError;

/// By default nobody is trusted: the certificate authority of an etcd cluster is seldom a public one.
#[derive(Clone, Default)]
pub(super) struct Tls {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Arc<CertifiedKey>, ClientCert)>,
}

impl Tls {
    pub(super) fn trust(&mut self, ca_file: &Path) -> Result<(), EtcdError> {
        self.authorities = certificates(ca_file)?;
        Ok(())
    }

    pub(super) fn identify(&mut self, cert_file: &Path, key_file: &Path) -> Result<(), EtcdError> {
        let chain = certificates(cert_file)?;
        let pem = read(key_file)?;
        let no_key = |error: &dyn std::fmt::Display| {
            config(key_file, &format!("holds no private key in PEM: {error}"))
        };
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| no_key(&error))?;
        // ureq panics at its first connection if they do not belong together.
        let key =
            CertifiedKey::from_der(chain.clone(), key, &default_provider()).map_err(|error| {
                config(key_file, &format!("holds no key of {}: {error}", cert_file.display()))
            })?;
        let ours = PrivateKey::from_pem(&pem).map_err(|error| no_key(&error))?;
        let chain: Vec<_> = chain.iter().map(of_ureq).collect();
        self.identity = Some((Arc::new(key), ClientCert::new_with_certs(&chain, ours)));
        Ok(())
    }

    pub(super) fn config(&self) -> TlsConfig {
        TlsConfig::builder()
            .root_certs(RootCerts::from(self.authorities.iter().map(of_ureq)))
            .client_cert(self.identity.as_ref().map(|(_, certificate)| certificate.clone()))
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .build()
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities.iter().cloned());
        roots
    }

    pub(super) fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.identity.as_ref().map(|(key, _)| Arc::clone(key))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, EtcdError> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(config(file, "holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(config(file, &format!("is not in PEM: {error}"))),
    }
}

fn of_ureq(certificate: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(certificate).to_owned()
}

fn read(file: &Path) -> Result<Vec<u8>, EtcdError> {
    fs::read(file).map_err(|error| config(file, &format!("cannot be read: {error}")))
}

fn config(file: &Path, what: &str) -> EtcdError {
    EtcdError::Config { message: format!("{} {what}", file.display()) }
}
