//! Thousands of pids are recycled while daemons come and go: no stranger is signalled, and no attempt refused.

use std::fs;

use crate::holder::namespaces::{container, visitor};
use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, is_root, require};

/// So few that they are reused within milliseconds.
const PID_MAX: &str = "400";

fn numbers(answer: &str) -> Vec<u32> {
    answer.split(' ').map(|number| number.parse().unwrap()).collect()
}

/// Whether a pid namespace has its own `pid_max`, as since Linux 6.14.
fn pid_max_is_the_namespaces_own() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(14))
}

#[test]
fn in_a_thousand_starts_and_stops_no_stranger_is_signalled() {
    require!(is_root(), "needs root, to make a pid namespace");
    require!(pid_max_is_the_namespaces_own(), "needs Linux 6.14, to have pids recycled soon");
    let sandbox = Sandbox::new();
    let mut inside = container(&sandbox);
    inside.must(&format!("child set_pid_max {PID_MAX}"));
    inside.must("child end_child");
    let mut crowd = visitor(&sandbox, &mut inside);
    let mut stopper = visitor(&sandbox, &mut inside);
    crowd.tell("child crowd");
    stopper.tell("child stop_all");
    let daemons = numbers(&inside.ask("child start_daemons 1000"));
    fs::write(sandbox.path().with_extension("over"), "").unwrap();
    let (crowd, signals) = (numbers(&crowd.answer()), numbers(&stopper.answer()));
    let [terminated, crashed] = daemons[..] else { panic!("{daemons:?}") };
    let [strangers, signalled] = crowd[..] else { panic!("{crowd:?}") };
    eprintln!(
        "{strangers} strangers, {signalled} signalled; {signals:?} signals; {daemons:?} daemons"
    );
    assert_eq!(signalled, 0);
    assert!(terminated >= 500 && terminated + crashed == 1000, "{daemons:?}");
    assert!(strangers > 4 * PID_MAX.parse::<u32>().unwrap(), "{strangers}");
}

/// Eight peers take the lock in turn while two others ask for the holder all the time. Returns how many
/// attempts were refused, and how many there were.
fn false_refusals(stale: bool, lacks: &[&str]) -> (u32, u32) {
    const ROUNDS: u32 = 500;
    let sandbox = Sandbox::new();
    let mut askers = [(); 2].map(|()| Peer::at(&sandbox.path()));
    let mut contenders = [(); 8].map(|()| Peer::without(&sandbox.path(), lacks));
    for asker in &mut askers {
        asker.tell("ask_on");
    }
    let kind = if stale { "stale" } else { "released" };
    for peer in &mut contenders {
        peer.tell(&format!("take_turns {ROUNDS} {kind}"));
    }
    let refused = contenders.each_mut().map(|peer| peer.answer().parse::<u32>().unwrap());
    fs::write(sandbox.path().with_extension("over"), "").unwrap();
    let asked = askers.each_mut().map(Peer::answer);
    let result = (refused.iter().sum(), ROUNDS * 8);
    eprintln!("{kind}, {lacks:?}: {result:?} refused, beside {asked:?} questions");
    result
}

#[test]
fn asking_for_the_holder_refuses_nobody_a_free_lock() {
    assert_eq!(false_refusals(false, &[]).0, 0);
}

/// Two peers ask as fast as they can, and each time there is a file without a lock.
#[test]
fn asking_about_a_stale_file_delays_an_attempt_and_never_fails_it() {
    false_refusals(true, &[]);
    false_refusals(false, &["tmpfile"]);
}
