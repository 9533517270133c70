//! What a run and the thread that waits for it tell each other.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;

use ureq::Agent;

use crate::etcd::error::EtcdError;
use crate::etcd::guard::EtcdGuard;
use crate::etcd::keys::Entry;
use crate::etcd::threads::{lock, spawn};

pub(super) struct Exchange {
    state: Mutex<State>,
    changed: Condvar,
    reader: PipeReader,
    writer: PipeWriter,
}

struct State {
    run: Run,
    thread: Thread,
    answer: Option<Result<EtcdGuard, EtcdError>>,
    /// Who owns the lock, while a stream tells of our turn: an answer that needs no request.
    owner: Option<Entry>,
    /// There is a byte in the pipe. One at most, so neither end of it ever blocks.
    is_rung: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Run {
    Sleeps,
    /// It waits for an answer.
    Asks,
    Leaves,
}

enum Thread {
    Waits,
    /// A request is under way. Without a key in the line it is one whose outcome is not known yet.
    Works {
        has_key: bool,
    },
    /// A stream is, which changes nothing and can be ended.
    Listens(Agent),
    /// The key is gone.
    Ended,
}

impl Exchange {
    pub(super) fn new() -> io::Result<Exchange> {
        let (reader, writer) = io::pipe()?;
        let (run, thread) = (Run::Sleeps, Thread::Waits);
        let state = State { run, thread, answer: None, owner: None, is_rung: false };
        Ok(Exchange { state: Mutex::new(state), changed: Condvar::new(), reader, writer })
    }

    /// The run asks for an answer. `busy` makes one of the owner.
    pub(super) fn ask(
        &self,
        busy: impl FnOnce(&Entry) -> EtcdError,
    ) -> Poll<Result<EtcdGuard, EtcdError>> {
        let mut state = lock(&self.state);
        self.hush(&mut state);
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        if let Some(owner) = &state.owner {
            return Poll::Ready(Err(busy(owner)));
        }
        state.run = Run::Asks;
        self.changed.notify_all();
        Poll::Pending
    }

    /// The run gives up. Ready once the key is gone; at once where it is not known whether there is one, since a server
    /// that does not answer would hold up the run.
    pub(super) fn leave(self: &Arc<Exchange>) -> Poll<()> {
        let mut state = lock(&self.state);
        self.hush(&mut state);
        let is_first = state.run != Run::Leaves;
        state.run = Run::Leaves;
        self.changed.notify_all();
        if let Some(Ok(guard)) = state.answer.take() {
            let exchange = Arc::clone(self);
            let release = move || {
                drop(guard);
                exchange.ended();
            };
            if spawn(release).is_err() {
                state.thread = Thread::Ended;
            }
        }
        match &state.thread {
            Thread::Ended => return Poll::Ready(()),
            Thread::Works { has_key: false } if is_first => return Poll::Ready(()),
            _ => {}
        }
        drop(state);
        self.end_stream_early();
        Poll::Pending
    }

    /// The thread waits until the run asks; false if it leaves.
    pub(super) fn is_asked(&self) -> bool {
        let mut state = lock(&self.state);
        while state.run == Run::Sleeps {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.run == Run::Asks {
            state.thread = Thread::Works { has_key: false };
        }
        state.run == Run::Asks
    }

    /// The thread is about to make a request; false if the run leaves.
    pub(super) fn works(&self, has_key: bool) -> bool {
        let mut state = lock(&self.state);
        state.thread = Thread::Works { has_key };
        state.run != Run::Leaves
    }

    /// The thread has an answer, asked for or not.
    pub(super) fn tell(&self, answer: Result<EtcdGuard, EtcdError>) {
        let mut state = lock(&self.state);
        (state.thread, state.owner) = (Thread::Waits, None);
        if state.run == Run::Leaves {
            drop(state);
            if let Ok(guard) = answer {
                // Nobody wants it any more.
                drop(guard);
                self.ended();
            }
            return;
        }
        (state.run, state.answer) = (Run::Sleeps, Some(answer));
        self.ring(&mut state);
    }

    /// The thread is about to wait on a stream; false if it must not.
    pub(super) fn begin_stream(&self, agent: &Agent) -> bool {
        let mut state = lock(&self.state);
        if state.run == Run::Leaves {
            return false;
        }
        state.thread = Thread::Listens(agent.clone());
        true
    }

    /// The server will tell of our turn, and `owner` owns the lock now. Wakes no run that has not asked.
    pub(super) fn is_told_of_turn(&self, owner: Entry) {
        let mut state = lock(&self.state);
        state.owner = Some(owner);
        if state.run == Run::Asks {
            state.run = Run::Sleeps;
            self.ring(&mut state);
        }
    }

    /// Ends the stream, so that the thread looks what is the matter.
    pub(super) fn end_stream_early(&self) {
        let stream = {
            let mut state = lock(&self.state);
            if !matches!(state.thread, Thread::Listens(_)) {
                return;
            }
            mem::replace(&mut state.thread, Thread::Works { has_key: true })
        };
        if let Thread::Listens(stream) = stream {
            stream.shutdown();
        }
    }

    /// The key is gone.
    pub(super) fn ended(&self) {
        let mut state = lock(&self.state);
        state.thread = Thread::Ended;
        self.ring(&mut state);
    }

    fn ring(&self, state: &mut State) {
        // A pipe of our own, and empty: it takes one byte.
        if !state.is_rung {
            state.is_rung = (&self.writer).write(&[0]).is_ok();
        }
    }

    fn hush(&self, state: &mut State) {
        if state.is_rung {
            state.is_rung = (&self.reader).read(&mut [0]).is_err();
        }
    }
}

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
