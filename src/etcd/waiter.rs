//! The thread of a place in the line: stands, asks whether it is its turn, and waits for that.

use std::sync::Arc;

use crate::etcd::answer::Failure;
use crate::etcd::client::Client;
use crate::etcd::deletion::{Stream, wait_for_deletion};
use crate::etcd::error::EtcdError;
use crate::etcd::exchange::Exchange;
use crate::etcd::guard::EtcdGuard;
use crate::etcd::keys::{self, Entry, Line};
use crate::etcd::lease::Lease;

/// Works for a run until that has the lock or leaves the line.
pub(super) fn serve(client: &Arc<Client>, exchange: Arc<Exchange>) {
    let mut waiter = Waiter { client, standing: None };
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
        loop {
            let Line { revision, first, older, .. } = self.line()?;
            let unexpected = || client.settings.error("lock", Failure::missing_key());
            let Some(older) = older else {
                let Standing { lease, own } = self.standing.take().ok_or_else(unexpected)?;
                let guard = EtcdGuard::hand_over(client, &lease, own)?;
                return Ok((guard, lease));
            };
            let owner = first.ok_or_else(unexpected)?;
            self.keep_standing(exchange)?;
            let agent = client.new_agent();
            let busy = keys::busy(client, &owner, false);
            if !exchange.begin_stream(&agent) {
                return Err(busy);
            }
            let on_start = || exchange.is_told_of_turn(owner);
            let stream = wait_for_deletion(client, &agent, &older, revision, on_start);
            if !exchange.end_stream() || stream == Stream::Refused {
                return Err(busy);
            }
        }
    }

    /// The line as it is, with us in it. If our key is gone, or may be gone, we stand anew.
    fn line(&mut self) -> Result<Line, EtcdError> {
        if let Some(standing) = self.standing.take_if(|it| it.lease.is_lost()) {
            // The key may be there yet, and would hold up those behind it.
            standing.lease.abandon();
        }
        let error = |failure| self.client.settings.error("lock", failure);
        if let Some(standing) = &self.standing {
            let line = keys::turn(self.client, &standing.own).map_err(error)?;
            if line.own.is_some() {
                return Ok(line);
            }
        }
        if let Some(standing) = self.standing.take() {
            standing.lease.abandon();
        }
        let lease = Lease::grant(self.client, "lock")?;
        let line = keys::stand(self.client, lease.id).map_err(error);
        match line {
            Ok(Line { own: Some(own), revision, first, older }) => {
                self.standing = Some(Standing { lease, own });
                Ok(Line { revision, own: None, first, older })
            }
            Ok(Line { own: None, .. }) => {
                lease.abandon();
                Err(error(Failure::missing_key()))
            }
            // Whether the key was put is unknown: a put under a revoked lease fails, if it is still under way.
            Err(error) => {
                lease.abandon();
                Err(error)
            }
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
        if started.is_err()
            && let Some(standing) = self.standing.take()
        {
            standing.lease.abandon();
        }
        started
    }
}
