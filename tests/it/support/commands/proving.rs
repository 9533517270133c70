//! What a peer reports about the lock: its recorded owner, and its proven holder.

use pidlockfile::{Error, Holder, Lockfile};

use crate::support::commands::Action::Says;
use crate::support::commands::Command;

pub const COMMANDS: &[Command] = &[
    ("owner", Says(|peer, _| owner(&peer.lockfile))),
    ("holder", Says(|peer, _| about_the_holder(&peer.lockfile, |_| Ok(())))),
    ("kill_holder", Says(|peer, _| about_the_holder(&peer.lockfile, Holder::kill))),
    ("holder_text", Says(|peer, _| peer.lockfile.holder().unwrap_err().to_string())),
];

fn owner(lockfile: &Lockfile) -> String {
    lockfile.owner().map_or_else(|error| format!("{error:?}"), |owner| format!("{owner:?}"))
}

/// A pid, `nobody` or the error.
fn about_the_holder(lockfile: &Lockfile, act: fn(&Holder) -> Result<(), Error>) -> String {
    match lockfile.holder() {
        Ok(Some(holder)) => {
            act(&holder).unwrap();
            holder.pid().to_string()
        }
        Ok(None) => "nobody".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}
