//! Says whom we wait for: a spinner on a terminal, and elsewhere a line for each new owner.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nix::libc;
use nix::unistd::getpgrp;
use pidlockfile::retry::Attempt;

use crate::tell;

#[derive(Default)]
pub struct Waiting {
    spinner: Option<ProgressBar>,
}

impl Waiting {
    pub fn show(&mut self, attempt: &Attempt<'_>) {
        if io::stderr().is_terminal() && is_in_foreground() {
            let text = format!("waiting: {}", attempt.error);
            self.spinner.get_or_insert_with(spinner).set_message(text);
        } else {
            tell(&format!("waiting: {attempt}"));
        }
    }

    pub fn end(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

/// A background job must not draw over what its user types.
fn is_in_foreground() -> bool {
    // SAFETY: tcgetpgrp(3) takes a number and reads no memory of ours.
    getpgrp().as_raw() == unsafe { libc::tcgetpgrp(libc::STDERR_FILENO) }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let spinner = ProgressBar::new_spinner().with_style(style.expect("the template is valid"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
