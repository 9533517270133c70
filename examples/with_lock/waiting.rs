//! Says whom we wait for: a spinner on a terminal, and elsewhere a line for each new owner.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pidlockfile::retry::Attempt;

use crate::tell;

#[derive(Default)]
pub struct Waiting {
    spinner: Option<ProgressBar>,
}

impl Waiting {
    pub fn show(&mut self, attempt: &Attempt<'_>) {
        let text = match attempt.owner() {
            Some(pid) => format!("waiting for process {pid}"),
            None => format!("waiting: {}", attempt.error),
        };
        if io::stderr().is_terminal() {
            self.spinner.get_or_insert_with(spinner).set_message(text);
        } else {
            tell(&text);
        }
    }

    pub fn end(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let spinner = ProgressBar::new_spinner().with_style(style.expect("the template is valid"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
