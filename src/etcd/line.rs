//! A run's place in the line: asks a thread, and never waits for it.

use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::Arc;
use std::task::Poll;

use crate::etcd::client::Client;
use crate::etcd::error::EtcdError;
use crate::etcd::exchange::Exchange;
use crate::etcd::guard::EtcdGuard;
use crate::etcd::keys::busy;
use crate::etcd::waiter;
use crate::retry::Place;

pub(super) struct EtcdPlace {
    client: Arc<Client>,
    exchange: Arc<Exchange>,
    has_thread: bool,
    pid: u32,
}

impl EtcdPlace {
    /// `None` if the process has no descriptors left: its run then tries the lock by its delays.
    pub(super) fn new(client: Arc<Client>) -> Option<EtcdPlace> {
        let exchange = Arc::new(Exchange::new().ok()?);
        Some(EtcdPlace { client, exchange, has_thread: false, pid: process::id() })
    }

    /// A forked child's copy: the thread behind it is the parent's.
    fn is_foreign(&self) -> bool {
        self.pid != process::id()
    }
}

impl AsFd for EtcdPlace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exchange.as_fd()
    }
}

impl Place for EtcdPlace {
    type Guard = EtcdGuard;
    type Error = EtcdError;

    fn poll_lock(&mut self) -> Poll<Result<EtcdGuard, EtcdError>> {
        if self.is_foreign() {
            // The child's run goes on, from a place and with connections of its own.
            let client = Arc::new(Client::new(Arc::clone(&self.client.settings)));
            match EtcdPlace::new(client) {
                Some(own) => std::mem::forget(std::mem::replace(self, own)),
                None => return Poll::Pending,
            }
        }
        if !self.has_thread {
            let (client, exchange) = (Arc::clone(&self.client), Arc::clone(&self.exchange));
            let started = self.client.threads.run(move || waiter::serve(&client, exchange));
            if let Err(source) = started {
                let name = self.client.settings.name.clone();
                let action = "start a thread for";
                return Poll::Ready(Err(EtcdError::Io { action, name, source }));
            }
            self.has_thread = true;
        }
        self.exchange.ask(|owner| busy(&self.client, owner, true))
    }

    fn poll_leave(&mut self) -> Poll<()> {
        if self.has_thread && !self.is_foreign() { self.exchange.leave() } else { Poll::Ready(()) }
    }
}

impl Drop for EtcdPlace {
    fn drop(&mut self) {
        let _ = self.poll_leave();
    }
}
