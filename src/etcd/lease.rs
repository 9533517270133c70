//! A lease: the time for which etcd keeps our key, its renewal, and its end.

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::etcd::answer::Failure;
use crate::etcd::client::Client;
use crate::etcd::clock::Moment;
use crate::etcd::error::EtcdError;
use crate::etcd::keys::{Entry, grant, number, read};
use crate::etcd::settings::LONGEST_TTL;
use crate::etcd::threads::lock;
use crate::retry::CancelToken;

/// A timer stands still in suspend, so the clock is looked at so often.
const LOOK: Duration = Duration::from_secs(1);
/// How long a renewal that failed is put off at most.
const LONGEST_DELAY: Duration = Duration::from_millis(500);

const OVER: &str = "its lease could not be renewed in time";
const GONE: &str = "its lease has ended, or was revoked";
const FORKED: &str = "it belongs to the process that this one was forked from";

pub(super) struct Lease {
    client: Arc<Client>,
    pub(super) id: i64,
    /// What the server granted, which can be more than was asked for.
    ttl: Duration,
    /// When the lease may be over, in nanoseconds. Moved by a renewal, and only as long as it is ahead.
    deadline: AtomicU64,
    /// Cancelled once and for all: a lost lease is never ours again, even if the server still has it.
    lost: CancelToken,
    /// Whether the server said so.
    gone: AtomicBool,
    /// The process that the lease belongs to.
    pid: u32,
    /// The key that is the lock, once a guard has it.
    own: OnceLock<Entry>,
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// No thread yet.
    Granted,
    /// A thread renews.
    Renewed,
    Ended,
}

impl Lease {
    /// Asks for a lease. The id is ours to choose, so that one whose grant is not answered can be revoked.
    pub(super) fn grant(
        client: &Arc<Client>,
        action: &'static str,
    ) -> Result<Arc<Lease>, EtcdError> {
        let settings = &client.settings;
        let name = || settings.name.clone();
        let lost = CancelToken::new().map_err(|source| EtcdError::Io {
            action: "make a descriptor for",
            name: name(),
            source,
        })?;
        let id = SmallRng::from_entropy().gen_range(1..=i64::MAX);
        let asked = Moment::now();
        let lease = |ttl: u64, sent: Moment| {
            let ttl = time(ttl);
            let deadline = sent.plus(ttl).nanos().into();
            let (client, pid) = (Arc::clone(client), process::id());
            let (gone, stage, changed) = (false.into(), Mutex::new(Stage::Granted), Condvar::new());
            let own = OnceLock::new();
            Arc::new(Lease { client, id, ttl, deadline, lost, gone, pid, own, stage, changed })
        };
        match grant(client, id) {
            Ok(answer) => match number(&answer.result["TTL"]) {
                0 => Err(settings.error(action, Failure::unexpected(&answer.result))),
                ttl => Ok(lease(ttl, answer.sent)),
            },
            // An earlier server granted it unheard. It granted as much as we asked for, or more.
            Err(failure) if failure.is_granted_already() => Ok(lease(settings.ttl, asked)),
            Err(failure) => {
                if failure.may_have_come() {
                    lease(settings.ttl, asked).abandon();
                }
                Err(settings.error(action, failure))
            }
        }
    }

    /// Whether the lease may be over, by the clock and not by the connection. A forked child never has one.
    pub(super) fn is_lost(&self) -> bool {
        if self.pid != process::id() || self.deadline().has_come() {
            self.lost.cancel();
        }
        self.lost.is_cancelled()
    }

    pub(super) fn lost(&self) -> &CancelToken {
        self.is_lost();
        &self.lost
    }

    /// Why, in words.
    pub(super) fn loss(&self) -> EtcdError {
        let is_gone = self.gone.load(Ordering::Relaxed);
        let reason = if self.is_foreign() {
            FORKED
        } else if is_gone {
            GONE
        } else {
            OVER
        };
        self.client.settings.lost(reason)
    }

    /// The server has it no more.
    pub(super) fn lose(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.lost.cancel();
    }

    /// Whether it was copied by a fork. The copy's locks may be held by threads that are not there.
    pub(super) fn is_foreign(&self) -> bool {
        self.pid != process::id()
    }

    fn deadline(&self) -> Moment {
        Moment::from_nanos(self.deadline.load(Ordering::SeqCst))
    }

    /// Renews on a thread from now on, if none does yet. `on_loss` is called there when the lease is lost.
    pub(super) fn start_once(
        self: &Arc<Lease>,
        on_loss: impl FnOnce() + Send + 'static,
    ) -> Result<(), EtcdError> {
        if !self.is_ours_to_serve() {
            return Ok(());
        }
        let lease = Arc::clone(self);
        self.client.threads.run(move || lease.serve(on_loss)).map_err(|source| {
            let name = self.client.settings.name.clone();
            EtcdError::Io { action: "start a thread for", name, source }
        })
    }

    /// Whether no thread renews yet. The caller then must see to it that one calls [`serve`](Lease::serve).
    pub(super) fn is_ours_to_serve(&self) -> bool {
        let mut stage = lock(&self.stage);
        let is_ours = *stage == Stage::Granted;
        if is_ours {
            *stage = Stage::Renewed;
        }
        is_ours
    }

    /// Renews on this thread, until the lease is released or lost.
    pub(super) fn serve(&self, on_loss: impl FnOnce()) {
        self.renew();
        if self.lost.is_cancelled() {
            on_loss();
        }
    }

    fn renew(&self) {
        let mut due = self.deadline().minus(self.ttl * 2 / 3);
        loop {
            if !self.wait_until(due) || self.is_lost() {
                return;
            }
            let request = json!({ "ID": self.id.to_string() });
            // A connection may be dead without a sign: there must be time for another one.
            let servers = u32::try_from(self.client.settings.endpoints.len()).unwrap_or(u32::MAX);
            let limit = Moment::now().plus((self.ttl / 3).saturating_mul(servers));
            let limit = Some(limit.min(self.deadline()));
            let answer = self.client.call("lease/keepalive", &request, limit);
            match answer {
                Ok(answer) => match number(&answer.result["TTL"]) {
                    0 => return self.lose(),
                    // It took so long that a caller may have been told already.
                    _ if self.is_lost() => return,
                    ttl => {
                        let ttl = time(ttl);
                        self.deadline.store(answer.sent.plus(ttl).nanos(), Ordering::SeqCst);
                        due = answer.sent.plus(ttl / 3);
                        if self.is_key_gone(Moment::now().plus(ttl / 6)) {
                            return self.lose();
                        }
                    }
                },
                // Until the deadline there is hope, whatever a server says.
                Err(_) => due = Moment::now().plus(self.delay()),
            }
        }
    }

    /// A guard has the lock by this key.
    pub(super) fn guards(&self, own: &Entry) {
        let _ = self.own.set(own.clone());
    }

    /// Whether somebody has deleted the key of a guard: another process may own the lock then, and the lease lives on.
    fn is_key_gone(&self, deadline: Moment) -> bool {
        self.own.get().is_some_and(|own| {
            let found = read(&self.client, &own.key, Some(deadline));
            found.is_ok_and(|found| !own.is_same_as(found.as_ref()))
        })
    }

    /// Waits until then, or until the deadline; whether the lease is still to be renewed.
    fn wait_until(&self, due: Moment) -> bool {
        let mut stage = lock(&self.stage);
        loop {
            let left = due.min(self.deadline()).left();
            if *stage != Stage::Renewed || self.lost.is_cancelled() || left.is_zero() {
                return *stage == Stage::Renewed;
            }
            let waited = self.changed.wait_timeout(stage, left.min(LOOK));
            stage = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn delay(&self) -> Duration {
        (self.ttl / 20).min(LONGEST_DELAY)
    }

    /// Stops renewing and revokes, which deletes the key. If no server answers, a thread goes on trying.
    pub(super) fn release(&self) -> Result<(), EtcdError> {
        if self.is_foreign() {
            return Err(self.loss());
        }
        let was_lost = self.is_lost();
        match self.end() {
            Ok(true) if !was_lost => Ok(()),
            Ok(is_revoked) => {
                if !is_revoked {
                    self.gone.store(true, Ordering::Relaxed);
                }
                Err(self.loss())
            }
            // It is not ours in any case, which another try would not mend.
            Err(_) if was_lost => Err(self.loss()),
            Err(failure) => Err(self.client.settings.error("unlock", failure)),
        }
    }

    /// The same, and whether there was a lease.
    pub(super) fn end(&self) -> Result<bool, Failure> {
        self.stop_renewing();
        // Even if the server said that it is gone: perhaps only the key is.
        let revoked = self.client.revoke(self.id);
        if revoked.as_ref().is_err_and(|failure| !failure.is_verdict()) {
            self.client.revoke_later(self.id, self.end_at_server());
        }
        revoked
    }

    /// Stops renewing and has the lease revoked by a thread.
    pub(super) fn abandon(&self) {
        self.stop_renewing();
        self.client.revoke_later(self.id, self.end_at_server());
    }

    fn stop_renewing(&self) {
        *lock(&self.stage) = Stage::Ended;
        self.changed.notify_all();
    }

    /// When the server has surely ended it: a new leader gives each lease its whole time again.
    fn end_at_server(&self) -> Moment {
        Moment::now().plus(self.ttl * 2)
    }
}

/// A server that grants more than etcd can is believed so far.
fn time(ttl: u64) -> Duration {
    Duration::from_secs(ttl.min(LONGEST_TTL))
}
