//! The algorithm of the Go package nightlyone/lockfile, from its source at bf01bef.
//!
//! It hard-links a temporary file with its own pid to the path. If another file is there, it judges the pid in
//! it, and removes a stale file by its name. It takes no kernel lock.

use crate::setup::Rules;
use crate::step::Next;
use crate::world::{BLANK, IDLE, Life, World};

pub(crate) fn step(rules: &Rules, world: &mut World, id: usize) -> Option<()> {
    let process = rules.process_of(id);
    let pid = world.processes[process]?;
    let mut thread = world.threads[id];
    match thread.next {
        // `ioutil.TempFile` and the write; nobody looks at the temporary file's name.
        Next::Begin => {
            let file = world.create_unnamed(process);
            world.write(file, pid);
            thread.file = Some(file);
            thread.next = Next::SeedLink;
        }
        // `os.Link`, whose EEXIST is ignored.
        Next::SeedLink => {
            world.link(process, thread.file?);
            thread.next = Next::SeedLstat;
        }
        // `os.Lstat` and `os.SameFile`.
        Next::SeedLstat => {
            thread.next = if world.lstat_names(process, thread.file?) {
                Next::SeedOwn
            } else if world.at_path().is_some() {
                Next::SeedRead
            } else {
                Next::Begin
            };
            if thread.next != Next::SeedRead {
                world.close(process, thread.file.take()?);
            }
        }
        // `ioutil.ReadFile`.
        Next::SeedRead => match world.record_at_path() {
            Some(BLANK) => thread.next = Next::SeedRemove,
            Some(read) => {
                thread.pid = read;
                thread.next = Next::SeedSignal;
            }
            None => {
                world.close(process, thread.file?);
                thread = IDLE;
            }
        },
        // `proc.Signal(0)`; a zombie counts as running.
        Next::SeedSignal => {
            if world.life(thread.pid) == Life::Free || thread.pid == pid {
                thread.pid = 0;
                thread.next = Next::SeedRemove;
            } else {
                world.close(process, thread.file?);
                thread = IDLE;
            }
        }
        // `os.Remove`, then from the start; a second temporary file would be like the first.
        Next::SeedRemove => {
            world.unlink(process);
            thread.next = Next::SeedLink;
        }
        // `Unlock`: `GetOwner` and `os.Remove`.
        Next::SeedOwn => {
            let is_ours = world.record_at_path() == Some(pid);
            thread.next = if is_ours { Next::SeedUnlock } else { Next::Begin };
        }
        Next::SeedUnlock => {
            world.unlink(process);
            thread = IDLE;
        }
        _ => unreachable!("a step of ours"),
    }
    world.threads[id] = thread;
    Some(())
}
