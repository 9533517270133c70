//! A model of the protocol.

mod world;
mod step;
mod ours;
mod seed;
mod check;

use check::*;
use step::Next;

const ANY: &[Start] = &[Start::Absent, Start::Stale, Start::Junk];

fn rules(ours: usize) -> Rules {
    Rules {
        ours,
        seeds: 0,
        children: 0,
        threads: 1,
        pids: u8::try_from(ours).expect("few"),
        starts: ANY,
        crashes: true,
        zombies: false,
        strangers: false,
        rm: Rm::Never,
        fork: Fork::AndDrop,
        publish: Publish::Unnamed,
        temporaries: 0,
        kernel_lock_only: false,
        mutant: None,
    }
}

fn timed(name: &str, rules: Rules) {
    let start = std::time::Instant::now();
    let n = rules.assert_clean();
    println!("{name}: {n} states {:?}", start.elapsed());
}

#[test]
fn sizes() {
    timed("2", rules(2));
    timed("2 pids3", Rules { pids: 3, ..rules(2) });
    timed("2 z", Rules { zombies: true, ..rules(2) });
    timed("2 z s", Rules { zombies: true, strangers: true, ..rules(2) });
    timed("2 nocrash", Rules { crashes: false, ..rules(2) });
    timed("1x2 threads", Rules { threads: 2, ..rules(1) });
    timed("3 nocrash", Rules { crashes: false, ..rules(3) });
}
