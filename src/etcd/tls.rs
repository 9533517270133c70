//! Certificates: whom to trust, and who we are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::etcd::error::EtcdError;

/// By default nobody is trusted: the certificate authority of an etcd cluster is seldom a public one.
#[derive(Clone)]
pub(super) struct Tls {
    roots: RootCerts,
    client: Option<ClientCert>,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { roots: RootCerts::new_with_certs(&[]), client: None }
    }
}

impl Tls {
    pub(super) fn trust(&mut self, ca_file: &Path) -> Result<(), EtcdError> {
        self.roots = certificates(ca_file)?.iter().map(of_ureq).into();
        Ok(())
    }

    pub(super) fn identify(&mut self, cert_file: &Path, key_file: &Path) -> Result<(), EtcdError> {
        let chain = certificates(cert_file)?;
        let pem = read(key_file)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| config(key_file, &format!("holds no private key in PEM: {error}")))?;
        CertifiedKey::from_der(chain.clone(), key, &default_provider()).map_err(|error| {
            config(key_file, &format!("holds no key of {}: {error}", cert_file.display()))
        })?;
        let key = PrivateKey::from_pem(&pem)
            .map_err(|error| config(key_file, &format!("holds no private key in PEM: {error}")))?;
        let chain: Vec<_> = chain.iter().map(of_ureq).collect();
        self.client = Some(ClientCert::new_with_certs(&chain, key));
        Ok(())
    }

    pub(super) fn config(&self) -> TlsConfig {
        TlsConfig::builder()
            .root_certs(self.roots.clone())
            .client_cert(self.client.clone())
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .build()
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
