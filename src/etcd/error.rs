//! What can go wrong with a lock kept by etcd, and whether it goes away by itself.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::Shown;
use crate::retry::Temporary;

/// When a place that is told of its turn is asked again all the same.
const TOLD: Duration = Duration::from_secs(5);

/// Why a lock kept by etcd could not be taken, kept, released or read.
///
/// Every text names the lock, and the holder and the remedy where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// Another process holds the lock, or is before us in its line. Temporary.
    #[error("{} is locked by {}", shown(name), shown(holder))]
    Busy {
        /// The lock.
        name: String,
        /// Who holds it: `process 608 on web-3`, or `the owner of KEY` for a program that left no such text.
        holder: String,
        /// The holder's fencing token.
        token: u64,
        /// Whether the run has a place in the line, and is told of its turn.
        in_line: bool,
    },

    /// No server answered in time, or none could serve the request. Temporary.
    #[error(
        "no etcd server answered for {}, tried {endpoints}: {}; {}",
        shown(name), shown(&cause.to_string()), hint(cause)
    )]
    Unreachable {
        /// The lock.
        name: String,
        /// The servers that were asked.
        endpoints: String,
        /// What the last one said, or what kept it from that. It is part of the text, so that a log of a wait has it.
        cause: io::Error,
    },

    /// The lease of the guard is over, so another process may own the lock.
    #[error(
        "{} is not locked any more: {reason}; stop the work that it protects, another process may own it by now",
        shown(name)
    )]
    Lost {
        /// The lock.
        name: String,
        /// What happened, in words.
        reason: &'static str,
    },

    /// A server refused, or what answers there is no etcd server.
    #[error("cannot {action} {} in etcd: {}{}", shown(name), shown(message), remedy(message))]
    Refused {
        /// What was being done, as a verb: `lock`, `unlock`, …
        action: &'static str,
        /// The lock.
        name: String,
        /// What the server said.
        message: String,
    },

    /// The lock cannot be made from what was given.
    #[error("{}", shown(message))]
    Config {
        /// What is wrong, in words.
        message: String,
    },

    /// The operating system had no thread or no file descriptor left. Temporary if it says so.
    #[error("cannot {action} {}", shown(name))]
    Io {
        /// What was being done: `start a thread for`, …
        action: &'static str,
        /// The lock.
        name: String,
        /// What the operating system said.
        source: io::Error,
    },
}

fn shown(text: &str) -> Shown<'_> {
    Shown(Path::new(text))
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            "the last one closed the connection, as it does where it expects https:// in place of http://, or the \
             other way round"
        }
        _ => "`etcdctl endpoint health` shows whether one is up",
    }
}

const CLIENT_CERT: &str =
    "; etcd asks for a client certificate that it trusts: EtcdLock::client_cert";

/// What the server's own words do not say. Each was met with a real server.
fn remedy(message: &str) -> &'static str {
    let remedies = [
        (
            "CommonName",
            "; with users switched on, etcd takes no client certificate that has a common name (CN) on its HTTP \
             port: use one without",
        ),
        (
            "does not allow client authentication",
            ", so its JSON gateway cannot reach it; with --client-cert-auth, add clientAuth to the certificate's \
             extended key usage",
        ),
        (
            "page not found",
            "; the address must be a client URL of etcd 3.4 or later, without --enable-grpc-gateway=false",
        ),
        ("HTTP request to an HTTPS server", "; use an https:// address"),
        ("user name is empty", "; etcd asks for a user: set one with EtcdLock::user"),
        ("CertificateRequired", CLIENT_CERT),
        // What older versions of etcd say to a client without one.
        ("alert: BadCertificate", CLIENT_CERT),
        (
            "UnknownIssuer",
            "; name the certificate authority that signed the server's certificate: EtcdLock::ca_file",
        ),
        (
            "permission denied",
            "; grant the user's role readwrite on the lock's name and all keys below it",
        ),
    ];
    let found = remedies.iter().find(|(words, _)| message.contains(words));
    found.map_or("", |(_, remedy)| remedy)
}

impl EtcdError {
    /// Whether trying again later can help: true for [`Busy`](EtcdError::Busy) and
    /// [`Unreachable`](EtcdError::Unreachable).
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// let error = EtcdLock::new(["http://etcd1:2379"], "").unwrap_err();
    /// assert!(!error.is_temporary());
    /// assert_eq!(error.to_string(), "the name of the lock is empty");
    /// ```
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            EtcdError::Busy { .. } | EtcdError::Unreachable { .. } => true,
            EtcdError::Io { source, .. } => source.is_temporary(),
            _ => false,
        }
    }
}

impl Temporary for EtcdError {
    fn is_temporary(&self) -> bool {
        self.is_temporary()
    }

    fn holder(&self) -> Option<Cow<'_, str>> {
        match self {
            EtcdError::Busy { holder, .. } => Some(holder.into()),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, EtcdError::Busy { in_line: true, .. }).then_some(TOLD)
    }

    fn is_shortage(&self) -> bool {
        match self {
            EtcdError::Io { source: cause, .. } | EtcdError::Unreachable { cause, .. } => {
                cause.is_shortage()
            }
            _ => false,
        }
    }
}
