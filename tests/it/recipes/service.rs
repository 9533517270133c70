//! `examples/service.rs` and `examples/tokio_service.rs` as processes, with a systemd that listens.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{self, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::example;
use crate::support::program::Program;
use crate::support::sandbox::{Sandbox, record_of};

/// What systemd is at the other end of `NOTIFY_SOCKET`.
fn listen(sandbox: &Sandbox, service: &mut Command) -> UnixDatagram {
    let socket = sandbox.dir().join("notify");
    service.env("NOTIFY_SOCKET", &socket);
    UnixDatagram::bind(socket).unwrap()
}

fn heard(systemd: &UnixDatagram) -> String {
    let mut message = [0; 1000];
    let length = systemd.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

fn service(name: &str, sandbox: &Sandbox) -> Command {
    let mut command = example::command(name);
    command.arg(sandbox.path()).stderr(Stdio::piped());
    command
}

fn is_waiting_for_us(sandbox: &Sandbox) -> String {
    format!("waiting: {} is locked by process {}", sandbox.path().display(), process::id())
}

fn assert_ends_well(service: Program) {
    service.signal(Signal::SIGTERM);
    let (status, printed, complaint) = service.end();
    assert!(status.success(), "{status}: {complaint}");
    assert!(printed.is_empty() && complaint.is_empty(), "{printed:?} {complaint}");
}

#[test]
fn a_service_is_ready_when_it_has_the_lock_and_ends_cleanly() {
    let sandbox = Sandbox::new();
    let mut command = service("service", &sandbox);
    let systemd = listen(&sandbox, &mut command);
    let service = Program::start(&mut command);
    assert_eq!(heard(&systemd), "READY=1\nSTATUS=working");
    assert_eq!(sandbox.record(), record_of(service.pid()));
    assert_ends_well(service);
    assert!(!sandbox.path().exists());
}

#[test]
fn a_service_that_waits_says_for_whom_and_is_ready_after_that() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let mut command = service("service", &sandbox);
    let systemd = listen(&sandbox, &mut command);
    let mut service = Program::start(&mut command);
    assert_eq!(service.line(), is_waiting_for_us(&sandbox));
    assert_eq!(heard(&systemd), format!("STATUS={}", is_waiting_for_us(&sandbox)));
    held.unlock().unwrap();
    assert_eq!(heard(&systemd), "READY=1\nSTATUS=working");
    assert_ends_well(service);
}

#[test]
fn a_service_without_a_systemd_that_listens_works_and_ends_cleanly_while_it_waits() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let mut service = Program::start(service("service", &sandbox).env_remove("NOTIFY_SOCKET"));
    assert_eq!(service.line(), is_waiting_for_us(&sandbox));
    assert_ends_well(service);
    held.verify().unwrap();
}

#[test]
fn a_service_whose_file_is_removed_fails_in_words() {
    let mut services = vec!["service"];
    services.extend(cfg!(feature = "tokio").then_some("tokio_service"));
    for name in services {
        let sandbox = Sandbox::new();
        let service = Program::start(&mut service(name, &sandbox));
        let record = record_of(service.pid());
        while !fs::read(sandbox.path()).is_ok_and(|found| found == record.as_bytes()) {
            std::thread::yield_now();
        }
        fs::remove_file(sandbox.path()).unwrap();
        let (status, _, complaint) = service.end();
        assert_eq!(status.code(), Some(1), "{name}");
        assert!(complaint.contains("was removed, replaced or overwritten"), "{complaint}");
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_tokio_service_waits_works_and_ends_cleanly_in_both() {
    let sandbox = Sandbox::new();
    let held = sandbox.lock();
    let [mut first, mut second] =
        [(), ()].map(|()| Program::start(&mut service("tokio_service", &sandbox)));
    for service in [&mut first, &mut second] {
        assert_eq!(service.line(), is_waiting_for_us(&sandbox));
    }
    assert_ends_well(first);
    held.unlock().unwrap();
    assert_eq!(second.line(), "working");
    assert_eq!(sandbox.record(), record_of(second.pid()));
    assert_ends_well(second);
    assert!(!sandbox.path().exists());
}
