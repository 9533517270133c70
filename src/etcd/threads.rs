//! Threads: started, used again, and the locks between them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::etcd::clock::Moment;

/// Ours do little; a process may have many.
const STACK: usize = 512 * 1024;

/// How long a thread waits for more work, and how many do so at most.
const IDLE: Duration = Duration::from_millis(500);
const MOST_IDLE: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// The threads of one client. A program that locks and unlocks in turn gets by with one: to start one each time adds a
/// tenth to an acquisition.
#[derive(Default)]
pub(super) struct Threads {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    idle: usize,
    jobs: Vec<Job>,
}

impl Threads {
    pub(super) fn run(self: &Arc<Threads>, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.idle > state.jobs.len() {
            state.jobs.push(Box::new(job));
            self.changed.notify_one();
            return Ok(());
        }
        drop(state);
        let threads = Arc::clone(self);
        spawn(move || {
            job();
            while let Some(job) = threads.next() {
                job();
            }
        })
    }

    fn next(&self) -> Option<Job> {
        let end = Moment::now().plus(IDLE);
        let mut state = lock(&self.state);
        if state.idle == MOST_IDLE {
            return None;
        }
        state.idle += 1;
        loop {
            let job = state.jobs.pop();
            let left = end.left();
            if job.is_some() || left.is_zero() {
                state.idle -= 1;
                return job;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("etcd-lock".to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// What is under these locks is whole after a panic, too.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
