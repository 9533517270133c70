//! What is measured: `cargo bench` measures all of it, `cargo bench -- cycle ask` these two.
//!
//! The results are in target/pidlockfile-benches; `python3 benches/table.py` makes tables of them. With
//! `PIDLOCKFILE_BENCH_SHORT`, and where it is not `cargo bench` that runs this, it takes seconds rather than
//! minutes, only to see that all of it works.

mod again;
mod calls;
mod candidates;
mod contended;
mod crowd;
mod cycle;
#[cfg(feature = "etcd")]
mod etcd;
mod floor;
mod handoff;
mod owner;
mod place;
mod refused;
mod relay;
mod report;
mod rounds;
mod serve;
mod takeover;
mod tally;
mod ways;

// A real server.
#[cfg(feature = "etcd")]
#[allow(unused, unexpected_cfgs, reason = "the tests need more of it, and have more features")]
#[path = "../tests/etcd/support"]
mod support {
    pub mod http;
    pub mod server;
    pub mod start;
    pub mod tls;
    pub mod wait;
}

use std::path::Path;
use std::{env, fs};

use serde_json::Value;

struct Bench {
    name: &'static str,
    measure: fn() -> Value,
    /// What the tables say above and below its results.
    title: &'static str,
    note: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "cycle",
        measure: cycle::measure,
        title: "Acquire and release, nobody in the way",
        note: "The bare calls are those that `pidlockfile` makes, with nothing around them. Most of a cycle is \
            the price of a file that comes with its name and goes with it: a lock that leaves its file and \
            writes no pid (fslock, fd-lock, named-lock, fs4, std) pays none of that, and has nothing for `cat` \
            to show. `fslock, with pid` waits for the disk (fsync). `pidlock` has no kernel lock: it is faster, \
            and not safe. `gix-lock` and `O_EXCL` stay locked for ever after a crash.",
    },
    Bench {
        name: "refused",
        measure: refused::by_kernel_lock,
        title: "Refused: the owner has a kernel lock",
        note: "",
    },
    Bench {
        name: "refused-by-pid",
        measure: refused::by_pid,
        title: "Refused: the owner has a pid in the file and no kernel lock",
        note: "A lock that is not in this table does not see such an owner, and is taken. What this crate takes \
            here is /proc, which tells a running process from a zombie and from a mere thread.",
    },
    Bench {
        name: "ask",
        measure: refused::and_asked,
        title: "Asking who holds the lock",
        note: "`pidlockfile` is a refused attempt. `owner()` reads the record and looks whether its process \
            runs; `holder()` proves that it holds the lock, which takes a look at all its open files.",
    },
    Bench {
        name: "takeover",
        measure: takeover::measure,
        title: "A stale file taken over, and released",
        note: "To a lock that leaves its file there is no stale file: it costs what it costs above. `gix-lock` never \
            takes one.",
    },
    Bench {
        name: "contended",
        measure: contended::measure,
        title: "Processes that want the same lock",
        note: "",
    },
    Bench {
        name: "handoff",
        measure: handoff::measure,
        title: "From one owner to the next",
        note: "A blocking flock(2) takes a lock whose file stays, and writes no pid. `wake on, bare` are the \
            calls by which a file is removed, the next process told by inotify(7) and its own file made, with \
            nothing around them: that much a file costs that goes with its owner. `sleeps of …, bare` sleeps by \
            that schedule and does nothing else.",
    },
    #[cfg(feature = "etcd")]
    Bench { name: "etcd", measure: etcd::measure, title: "A lock kept by etcd", note: "" },
];

type Part = fn(&[String]);

/// What this program does when it is run again, with the words that it is told.
const PARTS: &[(&str, Part)] = &[
    ("own", owner::own),
    ("contend", crowd::contend),
    ("hand-over", handoff::obey),
    ("serve", serve::serve),
];

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [part, words @ ..] = &words[..]
        && let Some((_, act)) = PARTS.iter().find(|(name, _)| name == part)
    {
        return act(words);
    }
    for word in &words {
        assert!(BENCHES.iter().any(|bench| bench.name == word), "no such bench: {word}");
    }
    for (order, bench) in BENCHES.iter().enumerate() {
        if words.is_empty() || words.iter().any(|word| word == bench.name) {
            let mut result = (bench.measure)();
            if result.is_null() {
                continue; // it has said why
            }
            result["title"] = bench.title.into();
            result["note"] = bench.note.into();
            result["order"] = order.into();
            save(bench.name, &result);
        }
    }
    println!("python3 benches/table.py makes tables of it.");
}

fn is_short() -> bool {
    env::var_os("PIDLOCKFILE_BENCH_SHORT").is_some() || !env::args().any(|word| word == "--bench")
}

fn save(name: &str, result: &Value) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("pidlockfile-benches");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{name}.json")), format!("{result:#}\n")).unwrap();
}
