//! The thread of a place in the line: stands, asks whether it is its turn, and waits for that.

use std::sync::{Arc, Weak};
use std::thread;

use crate::etcd::answer::Failure;
use crate::etcd::client::Client;
use crate::etcd::deletion::{Stream, wait_for_deletion};
use crate::etcd::error::EtcdError;
use crate::etcd::exchange::Exchange;
use crate::etcd::guard::EtcdGuard;
use crate::etcd::keys::{self, Entry};
use crate::etcd::lease::Lease;

/// Works for a run until that has the lock or leaves the line.
pub(super) fn serve(client: &Arc<Client>, exchange: Arc<Exchange>) {
    let mut waiter = Waiter { client, standing: None };
    let _alarm = PanicAlarm { client, exchange: Arc::downgrade(&exchange) };
    while exchange.is_asked() {
        match waiter.attempt(&exchange) {
            Ok((guard, lease)) => {
                // If nobody renews yet, this thread does from now on.
                let is_ours = lease.is_ours_to_serve();
                exchange.tell(Ok(guard));
                drop(exchange);
                if is_ours {
                    lease.serve(|| {});
                }
                return;
            }
            Err(error) => exchange.tell(Err(error)),
        }
    }
    if let Some(Standing { lease, .. }) = waiter.standing {
        // If no server answers, another thread goes on.
        let _ = lease.end();
    }
    exchange.ended();
}

/// A run must not wait for a thread that has panicked.
struct PanicAlarm<'a> {
    client: &'a Client,
    exchange: Weak<Exchange>,
}

impl Drop for PanicAlarm<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(exchange) = self.exchange.upgrade()
        {
            let message = "the thread that asked etcd panicked".to_owned();
            let failure = Failure::refused(None, message);
            exchange.tell(Err(self.client.settings.error("lock", failure)));
        }
    }
}

struct Waiter<'a> {
    client: &'a Arc<Client>,
    standing: Option<Standing>,
}

/// Our key in the line, and the lease that keeps it.
struct Standing {
    lease: Arc<Lease>,
    own: Entry,
}

impl Waiter<'_> {
    /// Waits in the line until it is our turn, or until something goes wrong.
    fn attempt(&mut self, exchange: &Arc<Exchange>) -> Result<(EtcdGuard, Arc<Lease>), EtcdError> {
        let client = self.client;
        let error = |failure| client.settings.error("lock", failure);
        let mut owner = None;
        loop {
            if self.standing.as_ref().is_some_and(|it| it.lease.is_lost()) {
                // The key may be there yet, and would hold up those behind it.
                self.step_out();
            }
            exchange.works(self.standing.is_some());
            if self.standing.is_none() {
                let (standing, first) = self.stand()?;
                if standing.own.created == first.created {
                    return hand_over(client, standing);
                }
                let busy = keys::busy(client, &first, false);
                (self.standing, owner) = (Some(standing), Some(first));
                if !exchange.works(true) {
                    return Err(busy);
                }
                self.keep_standing(exchange)?;
            }
            let Some(standing) = &self.standing else { continue };
            let Some(place) = keys::turn(client, &standing.own).map_err(error)? else {
                self.step_out();
                match owner {
                    // It is gone as soon as it was put, and so may the next one be: not without a delay.
                    Some(first) => return Err(keys::busy(client, &first, false)),
                    None => continue,
                }
            };
            let Some(older) = place.older else {
                let Some(standing) = self.standing.take() else { continue };
                return hand_over(client, standing);
            };
            let first = match owner.take() {
                Some(first) => first,
                None => keys::look(client).map_err(error)?.unwrap_or_else(|| older.clone()),
            };
            let busy = keys::busy(client, &first, false);
            let agent = client.new_agent();
            if !exchange.begin_stream(&agent) {
                return Err(busy);
            }
            let on_start = || exchange.is_told_of_turn(first);
            let stream = wait_for_deletion(client, &agent, &older, place.revision, on_start);
            if !exchange.works(true) || stream == Stream::Broken {
                return Err(busy);
            }
        }
    }

    /// Puts our key at the end of the line. Besides it, the owner's.
    fn stand(&self) -> Result<(Standing, Entry), EtcdError> {
        let lease = Lease::grant(self.client, "lock")?;
        match keys::stand(self.client, lease.id) {
            Ok((own, first)) => Ok((Standing { lease, own }, first)),
            // Whether the key was put is unknown: a put under a revoked lease fails, if it is still under way.
            Err(failure) => {
                lease.abandon();
                Err(self.client.settings.error("lock", failure))
            }
        }
    }

    fn step_out(&mut self) {
        if let Some(standing) = self.standing.take() {
            standing.lease.abandon();
        }
    }

    /// Sees to it that the lease is renewed while we wait.
    fn keep_standing(&mut self, exchange: &Arc<Exchange>) -> Result<(), EtcdError> {
        let Some(standing) = &self.standing else { return Ok(()) };
        // The thread outlives the wait, and must not keep its descriptors.
        let exchange = Arc::downgrade(exchange);
        let on_loss = move || {
            if let Some(exchange) = exchange.upgrade() {
                exchange.end_stream_early();
            }
        };
        let started = standing.lease.start_once(on_loss);
        if started.is_err() {
            self.step_out();
        }
        started
    }
}

fn hand_over(
    client: &Arc<Client>,
    standing: Standing,
) -> Result<(EtcdGuard, Arc<Lease>), EtcdError> {
    let Standing { lease, own } = standing;
    let guard = EtcdGuard::hand_over(client, &lease, own)?;
    Ok((guard, lease))
}
