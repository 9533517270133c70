//! A program that knows only the record, and writes in place: `kill -0 $(cat FILE) || echo $$ > FILE`.

use crate::setup::Rules;
use crate::step::Next;
use crate::world::{BLANK, DATA, IDLE, Life, World};

pub(crate) fn step(rules: &Rules, world: &mut World, id: usize) -> Option<()> {
    let process = rules.process_of(id);
    let pid = world.processes[process]?;
    let mut thread = world.threads[id];
    match thread.next {
        Next::Begin => match world.record_at_path().unwrap_or(BLANK) {
            DATA => return None,
            record if record == BLANK || record == pid => thread.next = Next::ScriptOpen,
            record => {
                thread.pid = record;
                thread.next = Next::ScriptKill;
            }
        },
        Next::ScriptKill if world.life(thread.pid) == Life::Free => {
            thread.pid = 0;
            thread.next = Next::ScriptOpen;
        }
        Next::ScriptKill => thread = IDLE,
        Next::ScriptOpen => {
            let file = world.open(process).or_else(|| world.create_exclusive(process))?;
            if rules.scripts_truncate {
                world.write(file, BLANK);
            }
            thread.file = Some(file);
            thread.next = Next::ScriptWrite;
        }
        Next::ScriptWrite => {
            let file = thread.file.take()?;
            world.write(file, pid);
            world.close(process, file);
            thread.pid = pid;
            thread.next = Next::ScriptWrote;
        }
        // It works, until it ends and leaves its file.
        _ => return None,
    }
    world.threads[id] = thread;
    Some(())
}
