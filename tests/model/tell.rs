//! A trace, in words.

use std::fmt::Write as _;

use stateright::Path;

use crate::rules::Event;
use crate::setup::Rules;
use crate::step::Next;
use crate::world::{ProcessId, World};

pub(crate) fn tell(rules: &Rules, path: &Path<World, Event>) -> String {
    let mut text = String::new();
    let steps = path.clone().into_vec();
    let first = &steps[0].0;
    let _ = writeln!(text, "  0  {:62} {}", "", first.describe_lock_file());
    for (number, pair) in steps.windows(2).enumerate() {
        let (before, Some(event)) = &pair[0] else { continue };
        let what = tell_event(rules, before, *event);
        let owners = match rules.owners(&pair[1].0) {
            0 => String::new(),
            count => format!(" ({count} own it)"),
        };
        let _ = writeln!(
            text,
            "{:3}  {what:62} {}{owners}",
            number + 1,
            pair[1].0.describe_lock_file()
        );
    }
    text
}

fn tell_event(rules: &Rules, world: &World, event: Event) -> String {
    let name = |process: ProcessId| {
        let letter = char::from(b'A' + u8::try_from(process).expect("few"));
        let seed = match process {
            _ if rules.is_seed(process) => " (seed)",
            _ if rules.is_script(process) => " (script)",
            _ => "",
        };
        match world.processes[process] {
            Some(pid) => format!("{letter}{seed}, pid {pid}"),
            None => format!("{letter}{seed}"),
        }
    };
    match event {
        Event::Step(thread) => {
            let process = rules.process_of(thread);
            let label = match world.threads[thread].next {
                Next::Begin if rules.is_seed(process) => {
                    "seed: create a temporary with the own pid"
                }
                Next::Begin if rules.is_script(process) => "script: read the pid",
                next => next.label(),
            };
            let which = match thread - process * rules.threads {
                0 => String::new(),
                other => format!(", thread {}", other + 1),
            };
            format!("{}{which}: {label}", name(process))
        }
        Event::Kill(process) => format!("{} is killed", name(process)),
        Event::Exit(process) => format!("{} exits", name(process)),
        Event::Start(process, pid) => format!("{} starts as pid {pid}", name(process)),
        Event::Fork(parent, child, pid) => {
            format!("{} forks {} as pid {pid}", name(parent), name(child))
        }
        Event::Stranger(pid) => format!("a stranger gets pid {pid}"),
        Event::StrangerEnds(pid) => format!("pid {pid} ends"),
        Event::Reap(pid) => format!("pid {pid} is reaped"),
        Event::PidOnlyOwnerUnlinks(pid) => format!("the pid-only owner {pid} releases and ends"),
        Event::Rm(0) => "an outsider removes the lock file".to_owned(),
        Event::Rm(_) => "an outsider removes the lock file, through the second mount".to_owned(),
        Event::CacheExpires(mount) => format!("mount {} forgets the name", mount + 1),
    }
}
