//! The algorithm of the Go package nightlyone/lockfile, as its source at bf01bef does it.
//!
//! A temporary with the own pid, hard-linked to the path; if another file is there, the pid in it
//! decides, and a file that was judged stale is removed by its name. No kernel lock anywhere.

use crate::setup::Rules;
use crate::step::Next;
use crate::world::{BLANK, IDLE, Life, World};

pub(crate) fn step(rules: &Rules, world: &mut World, id: usize) -> Option<()> {
    let process = rules.process_of(id);
    let pid = world.processes[process]?;
    let mut thread = world.threads[id];
    match thread.next {
        // `ioutil.TempFile` and the write; nobody looks at the temporary's name.
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
        // `os.Remove`, then from the start; a second temporary would be like the first.
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
