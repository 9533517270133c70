//! Stands between a client and a server: counts requests, holds them or their answers back, or cuts the line.

use std::collections::HashMap;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::http::Message;
use super::wait::until;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    /// The server carries it out, and the client hears nothing.
    Unanswered,
    /// The server carries it out, and the client's connection ends.
    HungUp,
    /// It comes to the server when the proxy is told to let go, even if the client is gone.
    Held,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By the end of the path.
    fates: Vec<(&'static str, Fate)>,
    counts: HashMap<String, usize>,
    /// Answers to these come so much later.
    slow: Vec<(&'static str, Duration)>,
    is_cut: bool,
    is_over: bool,
    /// Requests that were held, or whose client was hung up on, and that the server has answered.
    delivered: usize,
}

/// One connection of a client and the server.
#[derive(Default)]
struct Line {
    is_mute: AtomicBool,
    /// How much later each piece from the server is passed on.
    delay: Mutex<Duration>,
    /// How many pieces came from the server.
    answers: AtomicUsize,
}

impl Proxy {
    pub fn to(address: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            upstream: address.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let shared = Arc::new(shared);
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ours.pass().is_over {
                    break;
                }
                let ours = Arc::clone(&ours);
                thread::spawn(move || ours.relay(&client.unwrap()));
            }
        });
        Proxy { port, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on requests whose path ends so have this fate.
    pub fn set(&self, path: &'static str, fate: Fate) {
        self.shared.state().fates.push((path, fate));
    }

    /// From now on answers to requests whose path ends so come later by `time`.
    pub fn slow_down(&self, path: &'static str, time: Duration) {
        self.shared.state().slow.push((path, time));
    }

    /// From now on requests pass; those that were held do too.
    pub fn let_go(&self) {
        self.shared.state().fates.clear();
        self.shared.state().slow.clear();
        self.shared.changed.notify_all();
    }

    /// Nothing passes, in neither direction, as if all packets were dropped.
    pub fn cut(&self) {
        self.shared.state().is_cut = true;
    }

    /// What was held up by the cut arrives.
    pub fn mend(&self) {
        self.shared.state().is_cut = false;
        self.shared.changed.notify_all();
    }

    /// How many requests came whose path ends so.
    pub fn count(&self, path: &str) -> usize {
        let state = self.shared.state();
        state.counts.iter().filter(|(key, _)| key.ends_with(path)).map(|(_, count)| count).sum()
    }

    pub fn wait_for(&self, path: &str, count: usize) {
        until(&format!("{count} requests for {path}"), || self.count(path) >= count);
    }

    /// Waits until the server has answered so many requests that were held, or whose client was hung up on.
    pub fn wait_for_delivery(&self, count: usize) {
        until("held requests were delivered", || self.shared.state().delivered >= count);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the line is cut.
    fn pass(&self) -> MutexGuard<'_, State> {
        let is_stuck = |state: &mut State| state.is_cut && !state.is_over;
        self.changed.wait_while(self.state(), is_stuck).unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection: requests one by one, answers as bytes.
    fn relay(self: Arc<Shared>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(&self.upstream) else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let line = Arc::new(Line::default());
        let (ours, theirs) = (Arc::clone(&self), Arc::clone(&line));
        let (to, from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || ours.pass_answers(from, to, &theirs));
        let _ = self.pass_requests(client, &server, &line);
        // The answer to a request that was held is still to come.
        let _ = server.shutdown(Shutdown::Write);
    }

    fn pass_requests(
        &self,
        client: &TcpStream,
        mut server: &TcpStream,
        line: &Line,
    ) -> io::Result<()> {
        let mut requests = BufReader::new(client.try_clone()?);
        while let Some(Message { head, body }) = Message::read(&mut requests)? {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let fate = {
                let mut state = self.pass();
                *state.counts.entry(path.to_owned()).or_default() += 1;
                state.fates.iter().find(|(end, _)| path.ends_with(end)).map(|&(_, fate)| fate)
            };
            if matches!(fate, Some(Fate::Unanswered | Fate::HungUp)) {
                line.is_mute.store(true, Ordering::Release);
            }
            if fate == Some(Fate::Held) {
                let is_held = |state: &mut State| {
                    !state.is_over && state.fates.iter().any(|(end, _)| path.ends_with(end))
                };
                let state = self.changed.wait_while(self.state(), is_held);
                drop(state.unwrap_or_else(PoisonError::into_inner));
            }
            let slow = self
                .state()
                .slow
                .iter()
                .find(|(end, _)| path.ends_with(end))
                .map(|&(_, time)| time);
            *line.delay.lock().unwrap() = slow.unwrap_or_default();
            let before = line.answers.load(Ordering::Acquire);
            server.write_all(head.as_bytes())?;
            server.write_all(&body)?;
            if matches!(fate, Some(Fate::Held | Fate::HungUp)) {
                // A server does not carry out what a client asked that has hung up.
                until("it is answered", || line.answers.load(Ordering::Acquire) > before);
                self.state().delivered += 1;
            }
            if fate == Some(Fate::HungUp) {
                client.shutdown(Shutdown::Both)?;
            }
        }
        Ok(())
    }

    fn pass_answers(&self, mut server: TcpStream, mut client: TcpStream, line: &Line) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = server.read(&mut piece) {
            drop(self.pass());
            line.answers.fetch_add(1, Ordering::Release);
            let delay = *line.delay.lock().unwrap();
            thread::sleep(delay);
            if !line.is_mute.load(Ordering::Acquire) && client.write_all(&piece[..length]).is_err()
            {
                break;
            }
        }
        if !line.is_mute.load(Ordering::Acquire) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}
