//! `EtcdLock`: a name, the servers that keep it, and one attempt to lock it.

use std::borrow::Cow;
use std::fmt;
#[cfg(feature = "etcd-tls")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::etcd::client::{Client, ClientSlot};
use crate::etcd::error::EtcdError;
use crate::etcd::guard::EtcdGuard;
use crate::etcd::keys::{busy, look, take_if_free};
use crate::etcd::lease::Lease;
use crate::etcd::line::EtcdPlace;
use crate::etcd::settings::{LONGEST_TTL, Login, Settings};
use crate::retry::{BoxedPlace, TryLock};

const LOCK: &str = "lock";

/// The bounds of a request's time. A clock that counts seconds for ever overflows at some point; a year is for ever.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A lock that etcd keeps, by name, for processes of many machines.
///
/// Take it by [`try_lock`](EtcdLock::try_lock), or wait for it by
/// [`acquire_with_retry`](crate::retry::acquire_with_retry) and a [`RetryPolicy`](crate::retry::RetryPolicy). Such a
/// wait has a place in the lock's line, and a thread that keeps it. Clones mean the same lock, and each opens
/// connections of its own.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use pidlockfile::etcd::EtcdLock;
/// use pidlockfile::retry::{RetryPolicy, acquire_with_retry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
/// let policy = RetryPolicy::default().with_max_elapsed(Duration::from_secs(30));
/// let guard = acquire_with_retry(&lock, &policy)?;
/// // … the work, with `guard.fencing_token()` in each write …
/// guard.unlock()?;
/// # Ok(())
/// # }
/// ```
pub struct EtcdLock {
    settings: Arc<Settings>,
    client: ClientSlot,
}

/// Who owns a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdOwner {
    /// What to call the owner: `process 608 on web-3`, or `the owner of KEY` for a program that left no such text.
    pub text: String,
    /// The owner's fencing token.
    pub token: u64,
}

impl EtcdLock {
    /// Makes the lock `name`, which any of `endpoints` serves. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`Config`](EtcdError::Config) if the name is empty or holds a NUL byte, if there is no endpoint, or if one is
    /// not of the form `http://HOST:PORT`; `https://` needs the feature `etcd-tls`.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379", "http://etcd2:2379"], "jobs/nightly")?;
    /// assert_eq!(lock.name(), "jobs/nightly");
    ///
    /// let error = EtcdLock::new(["etcd1:2379"], "jobs/nightly").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`etcd1:2379` is no address of an etcd server: http://HOST:PORT is one",
    /// );
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
        name: impl Into<String>,
    ) -> Result<EtcdLock, EtcdError> {
        let endpoints: Vec<_> = endpoints.into_iter().map(Into::into).collect();
        let settings = Settings::new(name.into(), &endpoints)?;
        Ok(EtcdLock { settings: Arc::new(settings), client: ClientSlot::default() })
    }

    /// Sets how long the lock stays locked after its owner has died or was cut off; 10 seconds unless set.
    ///
    /// It is rounded up to whole seconds. The server may grant more: at least one and a half times its election timeout.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?.ttl(Duration::from_secs(3));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> EtcdLock {
        let seconds = ttl.as_secs().saturating_add((ttl.subsec_nanos() > 0).into());
        self.with(|settings| settings.ttl = seconds.clamp(1, LONGEST_TTL))
    }

    /// Sets how long one server is given to answer, before the next one is asked; 1 second unless set.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?
    ///     .request_timeout(Duration::from_millis(500));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn request_timeout(self, timeout: Duration) -> EtcdLock {
        self.with(|settings| settings.request_timeout = timeout.clamp(SHORTEST, LONGEST))
    }

    /// Sets the user to log in as, where etcd asks for one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let password = std::fs::read_to_string("/run/secrets/etcd")?;
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?.user("app", password.trim_end());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn user(self, user: impl Into<String>, password: impl Into<String>) -> EtcdLock {
        let login = Login { user: user.into(), password: password.into() };
        self.with(|settings| settings.login = Some(login))
    }

    /// Names the file with the certificate authorities, in PEM, one of which signed the servers' certificates.
    ///
    /// It needs the feature `etcd-tls`. Without it, no server is trusted.
    ///
    /// # Errors
    ///
    /// [`Config`](EtcdError::Config) if the file cannot be read, or holds no certificate.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["https://etcd1:2379"], "jobs/nightly")?
    ///     .ca_file("/etc/etcd/ca.crt")?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "etcd-tls")]
    pub fn ca_file(self, path: impl AsRef<Path>) -> Result<EtcdLock, EtcdError> {
        let mut tls = self.settings.tls.clone();
        tls.trust(path.as_ref())?;
        Ok(self.with(|settings| settings.tls = tls))
    }

    /// Names the files with the certificate, followed by those that lead to its authority, and with its private
    /// key, both in PEM, by which the servers know this client.
    ///
    /// It needs the feature `etcd-tls`. With etcd's users switched on, the certificate must have no common name (CN):
    /// etcd takes none that has on its HTTP port.
    ///
    /// # Errors
    ///
    /// [`Config`](EtcdError::Config) if a file cannot be read or holds no such thing, or if the key is another
    /// certificate's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["https://etcd1:2379"], "jobs/nightly")?
    ///     .ca_file("/etc/etcd/ca.crt")?
    ///     .client_cert("/etc/etcd/client.crt", "/etc/etcd/client.key")?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "etcd-tls")]
    pub fn client_cert(
        self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<EtcdLock, EtcdError> {
        let mut tls = self.settings.tls.clone();
        tls.identify(certificate.as_ref(), key.as_ref())?;
        Ok(self.with(|settings| settings.tls = tls))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> EtcdLock {
        change(Arc::make_mut(&mut self.settings));
        // Connections that were made before know nothing of the change.
        self.client = ClientSlot::default();
        self
    }

    /// Returns the name of the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// assert_eq!(lock.name(), "jobs/nightly");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Takes the lock if it is free, without waiting for another process.
    ///
    /// It passes nobody who waits in line. A refused attempt writes nothing.
    ///
    /// # Errors
    ///
    /// [`Busy`](EtcdError::Busy) if another process holds the lock or waits for it;
    /// [`Unreachable`](EtcdError::Unreachable) if no server answers in time, and then nothing stays locked;
    /// [`Refused`](EtcdError::Refused) if a server refuses; [`Io`](EtcdError::Io) if the operating system has no
    /// thread or descriptor left.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// match lock.try_lock() {
    ///     Ok(guard) => println!("ours, with the token {}", guard.fencing_token()),
    ///     // "jobs/nightly is locked by process 608 on web-3"
    ///     Err(error) if error.is_temporary() => println!("not now: {error}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock(&self) -> Result<EtcdGuard, EtcdError> {
        let client = self.client();
        let error = |failure| self.settings.error(LOCK, failure);
        if let Some(owner) = look(&client).map_err(error)? {
            return Err(busy(&client, &owner, false));
        }
        let lease = Lease::grant(&client, LOCK)?;
        let taken = match take_if_free(&client, lease.id) {
            Ok(Ok(own)) => Ok(own),
            Ok(Err(owner)) => Err(busy(&client, &owner, false)),
            Err(failure) => Err(error(failure)),
        };
        let taken = taken.and_then(|own| lease.start_once(|| {}).map(|()| own));
        match taken {
            Ok(own) => EtcdGuard::hand_over(&client, &lease, own),
            // Whether the key was put may be unknown: a put under a revoked lease fails, if it is still under way.
            Err(error) => {
                lease.abandon();
                Err(error)
            }
        }
    }

    /// Returns who owns the lock, `None` if it is free.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](EtcdError::Unreachable) if no server answers in time, [`Refused`](EtcdError::Refused) if the
    /// user may not read the lock's keys.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pidlockfile::etcd::EtcdLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = EtcdLock::new(["http://etcd1:2379"], "jobs/nightly")?;
    /// if let Some(owner) = lock.owner()? {
    ///     println!("{} owns it, with the token {}", owner.text, owner.token);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn owner(&self) -> Result<Option<EtcdOwner>, EtcdError> {
        let owner = look(&self.client())
            .map_err(|failure| self.settings.error("read the owner of", failure))?;
        Ok(owner.map(|owner| EtcdOwner { text: owner.holder, token: owner.created }))
    }

    fn client(&self) -> Arc<Client> {
        self.client.get(&self.settings)
    }
}

impl TryLock for EtcdLock {
    type Guard = EtcdGuard;
    type Error = EtcdError;

    fn try_lock(&self) -> Result<EtcdGuard, EtcdError> {
        self.try_lock()
    }

    fn line_up(&self) -> Option<BoxedPlace<'_, EtcdGuard, EtcdError>> {
        Some(Box::new(EtcdPlace::new(self.client())?))
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(self.name().into())
    }
}

impl Clone for EtcdLock {
    fn clone(&self) -> EtcdLock {
        EtcdLock { settings: Arc::clone(&self.settings), client: ClientSlot::default() }
    }
}

/// The password is left out.
impl fmt::Debug for EtcdLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLock")
            .field("name", &self.settings.name)
            .field("endpoints", &self.settings.endpoints)
            .finish_non_exhaustive()
    }
}
