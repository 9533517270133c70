//! `examples/cron_job.rs` as a process: its exit status, and what cron would mail.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::example;
use crate::support::sandbox::Sandbox;

fn job(sandbox: &Sandbox, source: &str) -> (Command, PathBuf) {
    let [source, target] = [source, "target"].map(|name| sandbox.dir().join(name));
    let mut command = example::command("cron_job");
    command.args([sandbox.path(), source.clone(), target]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "0");
    (command, source)
}

fn exit_status_and_mail(output: Output) -> (Option<i32>, String) {
    let mail = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(mail).unwrap())
}

#[test]
fn a_job_that_succeeds_leaves_nothing_to_mail_and_no_lock_file() {
    let sandbox = Sandbox::new();
    let (mut job, source) = job(&sandbox, "source");
    fs::write(source, "text").unwrap();
    assert_eq!(exit_status_and_mail(job.output().unwrap()), (Some(0), String::new()));
    assert_eq!(fs::read(sandbox.dir().join("target")).unwrap(), b"text");
    assert!(!sandbox.path().exists());
}

#[test]
fn a_job_that_meets_the_one_before_says_so_in_one_line_and_fails_for_now() {
    let sandbox = Sandbox::new();
    let (mut long, fifo) = job(&sandbox, "fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let long = long.spawn().unwrap();
    // It opens the fifo once it has the lock, and then reads.
    let mut writer = File::options().write(true).open(fifo).unwrap();
    let path = sandbox.path();
    let busy = format!("not now: {} is locked by process {}\n", path.display(), long.id());
    let (mut next, _) = job(&sandbox, "fifo");
    assert_eq!(exit_status_and_mail(next.output().unwrap()), (Some(75), busy));
    writer.write_all(b"text").unwrap();
    drop(writer);
    assert_eq!(exit_status_and_mail(long.wait_with_output().unwrap()), (Some(0), String::new()));
    assert!(!sandbox.path().exists());
}

#[test]
fn a_job_that_fails_says_why_and_leaves_no_lock_file() {
    let sandbox = Sandbox::new();
    let (mut job, source) = job(&sandbox, "missing");
    let cause = "No such file or directory (os error 2)";
    let mail = format!("Error: cannot read {}\n\nCaused by:\n    {cause}\n", source.display());
    assert_eq!(exit_status_and_mail(job.output().unwrap()), (Some(1), mail));
    assert!(!sandbox.path().exists());
}
