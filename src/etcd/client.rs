//! Requests to etcd's JSON gateway: each server in turn, within a time, with a login.

use std::io::{self, Read};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;

use crate::etcd::answer::{Failure, failure_of, result_of};
use crate::etcd::clock::Moment;
#[cfg(feature = "etcd-tls")]
use crate::etcd::probe;
use crate::etcd::resolver::CachingResolver;
use crate::etcd::settings::Settings;
use crate::etcd::threads::{Threads, lock};

/// ureq allots and clears its buffers for each connection; our requests and answers are short.
const BUFFER: usize = 4096;

/// So long a connection is kept that is not in use: longer than most leases wait for their next renewal.
const IDLE: Duration = Duration::from_secs(60);

/// One process's connections to the servers of one lock.
pub(super) struct Client {
    pub(super) settings: Arc<Settings>,
    agent: Agent,
    /// The server that answered last, and is asked first.
    preferred: AtomicUsize,
    login: Mutex<Option<Arc<str>>>,
    pub(super) unrevoked: Mutex<Unrevoked>,
    pub(super) threads: Arc<Threads>,
}

/// The leases that are still to be revoked, each with a moment at which it is over anyway.
#[derive(Default)]
pub(super) struct Unrevoked {
    pub(super) leases: Vec<(i64, Moment)>,
    pub(super) has_thread: bool,
}

/// A result, and what it is worth.
pub(super) struct Answer {
    pub(super) result: Value,
    /// Taken before the request that was answered was sent.
    pub(super) sent: Moment,
}

impl Client {
    pub(super) fn new(settings: Arc<Settings>) -> Client {
        let agent = new_agent(&settings);
        let preferred = SmallRng::from_entropy().gen_range(0..settings.endpoints.len()).into();
        let (login, unrevoked, threads) = Default::default();
        Client { settings, agent, preferred, login, unrevoked, threads }
    }

    /// Asks one server after the other, each at most `request_timeout`, and all of them until `deadline` at most.
    ///
    /// All requests of this module are safe to repeat: what the first server did unheard is no harm.
    pub(super) fn call(
        &self,
        path: &str,
        request: &Value,
        deadline: Option<Moment>,
    ) -> Result<Answer, Failure> {
        let body = request.to_string();
        let endpoints = &self.settings.endpoints;
        let first = self.preferred.load(Ordering::Relaxed);
        let (mut failure, mut stranger): (Option<Failure>, Option<Failure>) = (None, None);
        for tried in 0..endpoints.len() {
            let number = (first + tried) % endpoints.len();
            let rest = u32::try_from(endpoints.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.map_or(Duration::MAX, |deadline| deadline.left() / rest);
            if share.is_zero() {
                break;
            }
            let limit = Moment::now().plus(share.min(self.settings.request_timeout));
            match self.ask(&endpoints[number], path, &body, limit) {
                Ok((result, sent)) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(Answer { result, sent });
                }
                Err(refused) if refused.is_verdict() => {
                    // It is up, at least.
                    self.preferred.store(number, Ordering::Relaxed);
                    let is_second = failure.is_some_and(|it| it.may_have_come());
                    return Err(if is_second { refused.after_silence() } else { refused });
                }
                // What answers there is no etcd, or can't be trusted. The others may be well.
                Err(refused @ Failure::Refused { .. }) => stranger = Some(refused),
                Err(no_answer) => {
                    if let Some(message) = self.tls_refusal(&endpoints[number], &no_answer, limit) {
                        stranger = Some(Failure::refused(None, message));
                        continue;
                    }
                    let is_second = failure.is_some_and(|it| it.may_have_come());
                    failure = Some(if is_second { no_answer.after_silence() } else { no_answer });
                }
            }
        }
        Err(match (stranger, failure) {
            (Some(refused), Some(silence)) if silence.may_have_come() => refused.after_silence(),
            (Some(refused), _) => refused,
            (None, Some(silence)) => silence,
            (None, None) => Failure::no_answer(io::ErrorKind::TimedOut.into()),
        })
    }

    /// Whether a server that did not answer refuses all that we could ask.
    #[cfg(feature = "etcd-tls")]
    fn tls_refusal(&self, endpoint: &str, failure: &Failure, limit: Moment) -> Option<String> {
        let may_be = endpoint.starts_with("https:") && failure.may_hide_refusal();
        may_be.then(|| probe::refusal(&self.settings.tls, endpoint, limit))?
    }

    #[cfg(not(feature = "etcd-tls"))]
    #[expect(clippy::unused_self, reason = "its twin uses it")]
    fn tls_refusal(&self, _: &str, _: &Failure, _: Moment) -> Option<String> {
        None
    }

    /// Asks one server, and once more after a new login if the old one seems to be over.
    fn ask(
        &self,
        endpoint: &str,
        path: &str,
        body: &str,
        limit: Moment,
    ) -> Result<(Value, Moment), Failure> {
        let login = self.log_in(endpoint, limit, None)?;
        let sent = Moment::now();
        match self.post(endpoint, path, body, login.as_deref(), limit) {
            Err(failure) if self.settings.login.is_some() && failure.may_be_expired_login() => {
                let login = self.log_in(endpoint, limit, login.as_ref())?;
                let sent = Moment::now();
                match self.post(endpoint, path, body, login.as_deref(), limit) {
                    Ok(result) => Ok((result, sent)),
                    Err(second) if failure.may_have_come() => Err(second.after_silence()),
                    Err(second) => Err(second),
                }
            }
            result => Ok((result?, sent)),
        }
    }

    /// The token to send along; a new one in place of `expired`.
    fn log_in(
        &self,
        endpoint: &str,
        limit: Moment,
        expired: Option<&Arc<str>>,
    ) -> Result<Option<Arc<str>>, Failure> {
        let Some(login) = &self.settings.login else { return Ok(None) };
        let known = lock(&self.login).clone();
        if known.is_some() && known.as_ref() != expired {
            return Ok(known);
        }
        let request = json!({ "name": login.user, "password": login.password }).to_string();
        let token = match self.post(endpoint, "auth/authenticate", &request, None, limit) {
            Ok(answer) => match answer["token"].as_str() {
                Some(token) => Some(Arc::from(token)),
                None => return Err(Failure::unexpected(&answer)),
            },
            Err(refused) if refused.is_auth_off() => None,
            Err(failure) => return Err(failure),
        };
        lock(&self.login).clone_from(&token);
        Ok(token)
    }

    fn post(
        &self,
        endpoint: &str,
        path: &str,
        body: &str,
        login: Option<&str>,
        limit: Moment,
    ) -> Result<Value, Failure> {
        let left = limit.left();
        if left.is_zero() {
            return Err(Failure::no_answer(io::ErrorKind::TimedOut.into()));
        }
        let mut request = self.agent.post(format!("{endpoint}/v3/{path}"));
        if let Some(login) = login {
            request = request.header("Authorization", login);
        }
        let request = request.config().timeout_global(Some(left)).build();
        let mut response = request.send(body).map_err(failure_of)?;
        let text = response.body_mut().read_to_string().map_err(failure_of)?;
        result_of(response.status().as_u16(), &text)
    }

    /// Starts a stream at the server that answered last, on an agent of its own, by which it can be ended.
    ///
    /// `life` is how long it may last.
    pub(super) fn stream(
        &self,
        agent: &Agent,
        path: &str,
        request: &Value,
        life: Duration,
    ) -> Result<impl Read + use<>, Failure> {
        let timeout = Some(self.settings.request_timeout);
        let endpoint = &self.settings.endpoints[self.preferred.load(Ordering::Relaxed)];
        let mut post = agent.post(format!("{endpoint}/v3/{path}"));
        if let Some(login) = lock(&self.login).as_deref() {
            post = post.header("Authorization", login);
        }
        let post = post
            .config()
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_recv_response(timeout)
            .timeout_recv_body(Some(life))
            .build();
        let mut response = post.send(request.to_string()).map_err(failure_of)?;
        let status = response.status().as_u16();
        if status != 200 {
            let text = response.body_mut().read_to_string().map_err(failure_of)?;
            result_of(status, &text)?;
        }
        Ok(response.into_body().into_reader())
    }

    pub(super) fn new_agent(&self) -> Agent {
        new_agent(&self.settings)
    }
}

fn new_agent(settings: &Settings) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy may hold back what a stream has to say, and so a release.
        .proxy(None)
        .max_idle_age(IDLE)
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER);
    #[cfg(feature = "etcd-tls")]
    let config = config.tls_config(settings.tls.config());
    #[cfg(not(feature = "etcd-tls"))]
    let _ = settings;
    Agent::with_parts(config.build(), DefaultConnector::default(), CachingResolver::default())
}

/// The client of a lock, made when it is needed first.
///
/// A forked child shares its parent's connections, on which each would read the other's answers: so it makes a
/// client of its own.
#[derive(Default)]
pub(super) struct ClientSlot(Mutex<Option<(u32, Arc<Client>)>>);

impl ClientSlot {
    pub(super) fn get(&self, settings: &Arc<Settings>) -> Arc<Client> {
        let mut slot = match self.0.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is a moment ahead; or it was when we were forked, and then never unlocks.
            Err(TryLockError::WouldBlock) => return Arc::new(Client::new(Arc::clone(settings))),
        };
        let pid = process::id();
        match &*slot {
            Some((maker, client)) if *maker == pid => Arc::clone(client),
            _ => {
                let client = Arc::new(Client::new(Arc::clone(settings)));
                // The parent's may be in use by a thread that the child lacks, and stays as it is.
                std::mem::forget(slot.replace((pid, Arc::clone(&client))));
                client
            }
        }
    }
}
