//! `examples/leader.rs`, three times at once: one is killed, and one is stopped for longer than its lease.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::example;
use crate::support::http::line;
use crate::support::program::Program;
use crate::support::server::Server;
use crate::support::wait::{require_etcd, test_name, until};

/// The token of a leader that has begun to work.
fn token_of(leader: &mut Program) -> u64 {
    let begun = leader.line();
    let prefix = format!("working as process {} with token ", leader.pid());
    begun.strip_prefix(&prefix).expect(&begun).parse().unwrap()
}

/// Waits until the store holds a write of this token.
fn await_write(store: &Path, token: u64) {
    let has_written = |record: String| record.starts_with(&format!("{token} "));
    until("it writes", || fs::read_to_string(store).is_ok_and(has_written));
}

#[test]
fn of_three_leaders_one_works_and_the_next_takes_over_from_a_killed_and_from_a_stopped_one() {
    require_etcd!();
    let server = Server::shared();
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let start = || {
        let mut command = example::command("leader");
        Program::start(command.args([&server.endpoint(), &test_name()]).arg(&store).arg("3"))
    };
    let mut first = start();
    let first_token = token_of(&mut first);
    await_write(&store, first_token);
    let is_waiting_for = |leader: &mut Program, owner: &Program| {
        let told = leader.line();
        let name = test_name();
        assert!(
            told.starts_with(&format!("waiting: {name} is locked by process {} on ", owner.pid()))
        );
    };
    let mut second = start();
    is_waiting_for(&mut second, &first);
    let mut third = start();
    is_waiting_for(&mut third, &first);

    first.signal(Signal::SIGKILL);
    let second_token = token_of(&mut second);
    assert!(second_token > first_token);
    await_write(&store, second_token);

    second.signal(Signal::SIGSTOP);
    let third_token = token_of(&mut third);
    assert!(third_token > second_token);
    await_write(&store, third_token);
    second.signal(Signal::SIGCONT);
    // It knows by its clock, or by the store if it was stopped between the two.
    let stopped = second.line();
    let refused = format!(
        "stopped working: the store has seen token {third_token}, and refuses {second_token}"
    );
    assert!(["stopped working: the lock is lost", &refused].contains(&&*stopped), "{stopped}");
    assert!(second.line().starts_with("on release: "));
    is_waiting_for(&mut second, &third);

    third.signal(Signal::SIGTERM);
    let last_token = token_of(&mut second);
    assert!(last_token > third_token);
    let (status, printed, _) = third.end();
    assert!(status.success(), "{status}");
    assert!(printed.last().unwrap().starts_with("stopped after "), "{printed:?}");
    await_write(&store, last_token);
    second.signal(Signal::SIGTERM);
    assert!(second.end().0.success());
    assert_eq!(line(&server.address(), &test_name()), []);
}
