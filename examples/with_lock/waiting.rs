//! Says whom we wait for: a line for each new owner, and on a terminal a spinner below it.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::getpgrp;
use pidlockfile::retry::Attempt;

use crate::tell;

const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const INTERVAL: Duration = Duration::from_millis(100);
const CLEAR_LINE: &str = "\r\x1b[2K";

pub struct Waiting {
    started: Instant,
    spinner: Option<Spinner>,
}

impl Waiting {
    pub fn new() -> Waiting {
        Waiting { started: Instant::now(), spinner: None }
    }

    pub fn show(&mut self, attempt: &Attempt<'_>) {
        self.end();
        tell(&format!("waiting: {attempt}"));
        if io::stderr().is_terminal() {
            self.spinner = Spinner::start(self.started).ok();
        }
    }

    pub fn end(&mut self) {
        if let Some(Spinner { stop, thread }) = self.spinner.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

struct Spinner {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Spinner {
    fn start(started: Instant) -> io::Result<Spinner> {
        let (stop, stopped) = mpsc::channel();
        let spin = move || {
            for frame in FRAMES.iter().cycle() {
                let seconds = started.elapsed().as_secs();
                // The cursor goes back, so that the `^C` that the terminal prints is cleared as well.
                draw(&format!("{CLEAR_LINE}{frame} {seconds} s\r"));
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            draw(CLEAR_LINE);
        };
        Ok(Spinner { stop, thread: thread::Builder::new().spawn(spin)? })
    }
}

/// Draws on the terminal, unless that is another job's now.
fn draw(text: &str) {
    // SAFETY: tcgetpgrp(3) takes a number and touches no memory of ours.
    if getpgrp().as_raw() == unsafe { libc::tcgetpgrp(libc::STDERR_FILENO) } {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
