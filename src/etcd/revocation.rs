//! Ending leases: at once, or on a thread that goes on until a server answers.

use std::sync::Arc;
use std::time::Duration;
use std::{mem, thread};

use serde_json::json;

use crate::etcd::answer::Failure;
use crate::etcd::client::Client;
use crate::etcd::clock::Moment;
use crate::etcd::threads::lock;

/// How far apart the attempts are while no server answers.
const DELAY: Duration = Duration::from_millis(200);

impl Client {
    /// Revokes a lease, which deletes its keys and bars a put that is still under way. Whether there was one.
    pub(super) fn revoke(&self, lease: i64) -> Result<bool, Failure> {
        match self.call("lease/revoke", &json!({ "ID": lease.to_string() }), None) {
            Ok(_) => Ok(true),
            Err(failure) => failure.not_found().ok_or(failure),
        }
    }

    /// Has a lease revoked in the background, until `end` at most. One thread does it for all of this client's.
    pub(super) fn revoke_later(self: &Arc<Client>, lease: i64, end: Moment) {
        let mut unrevoked = lock(&self.unrevoked);
        unrevoked.leases.push((lease, end));
        if !unrevoked.has_thread {
            let client = Arc::clone(self);
            // Without a thread, the server ends the lease in its time.
            unrevoked.has_thread = self.threads.run(move || client.revoke_all()).is_ok();
        }
    }

    fn revoke_all(&self) {
        loop {
            let mut leases = mem::take(&mut lock(&self.unrevoked).leases);
            // Where no server answers one, none will answer the next.
            let mut is_heard = true;
            leases.retain(|&(lease, end)| {
                is_heard = is_heard && self.revoke(lease).err().is_none_or(|it| it.is_verdict());
                !is_heard && !end.has_come()
            });
            let mut unrevoked = lock(&self.unrevoked);
            unrevoked.leases.append(&mut leases);
            if unrevoked.leases.is_empty() {
                unrevoked.has_thread = false;
                return;
            }
            drop(unrevoked);
            thread::sleep(if is_heard { Duration::ZERO } else { DELAY });
        }
    }
}
