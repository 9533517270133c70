//! What a lock was told: which servers, whose login, how long.

use std::time::Duration;

use crate::etcd::answer::Failure;
use crate::etcd::error::EtcdError;
#[cfg(feature = "etcd-tls")]
use crate::etcd::tls::Tls;

/// As long as etcd itself allows, which is centuries.
pub(super) const LONGEST_TTL: u64 = 9_000_000_000;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) name: String,
    /// Without a slash at the end.
    pub(super) endpoints: Vec<String>,
    /// In whole seconds, as etcd counts.
    pub(super) ttl: u64,
    pub(super) request_timeout: Duration,
    pub(super) login: Option<Login>,
    #[cfg(feature = "etcd-tls")]
    pub(super) tls: Tls,
}

#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl Settings {
    pub(super) fn new(name: String, endpoints: &[String]) -> Result<Settings, EtcdError> {
        let config = |message: String| Err(EtcdError::Config { message });
        if name.is_empty() {
            return config("the name of the lock is empty".to_owned());
        }
        if name.contains('\0') {
            return config(format!("`{name}` holds a NUL byte and cannot be the name of a lock"));
        }
        if endpoints.is_empty() {
            return config(format!("no etcd server is named for {name}"));
        }
        for endpoint in endpoints {
            let uri = endpoint.parse::<ureq::http::Uri>().ok();
            let is_complete = uri.is_some_and(|uri| {
                let has_path =
                    uri.path_and_query().is_some_and(|it| !matches!(it.as_str(), "" | "/"));
                uri.authority().is_some() && !has_path
            });
            let is_tls = endpoint.starts_with("https://");
            if !is_complete || !(is_tls || endpoint.starts_with("http://")) {
                return config(format!(
                    "`{endpoint}` is no address of an etcd server: http://HOST:PORT is one"
                ));
            }
            if is_tls && cfg!(not(feature = "etcd-tls")) {
                return config(format!("`{endpoint}` needs the feature `etcd-tls` of pidlockfile"));
            }
        }
        let endpoints = endpoints.iter().map(|it| it.trim_end_matches('/').to_owned()).collect();
        Ok(Settings {
            name,
            endpoints,
            ttl: 10,
            request_timeout: Duration::from_secs(1),
            login: None,
            #[cfg(feature = "etcd-tls")]
            tls: Tls::default(),
        })
    }

    /// The error of a request that was to `action` the lock.
    pub(super) fn error(&self, action: &'static str, failure: Failure) -> EtcdError {
        let name = self.name.clone();
        match failure {
            Failure::NoAnswer { source, .. } => {
                EtcdError::Unreachable { name, endpoints: self.endpoints.join(", "), cause: source }
            }
            Failure::Refused { message, .. } => EtcdError::Refused { action, name, message },
        }
    }

    pub(super) fn lost(&self, reason: &'static str) -> EtcdError {
        EtcdError::Lost { name: self.name.clone(), reason }
    }
}
