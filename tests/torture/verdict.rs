//! The result of a fight: one line for the reader, and the checks.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::libc;
use nix::sys::statfs::{self, statfs};

use crate::fight::{Fight, Heir, LONGEST_GAP, WORKERS};
use crate::pids::is_namespaced;
use crate::referee::Tally;
use crate::witness::count_in;

pub struct Verdict<'a> {
    pub fight: &'a Fight,
    pub tally: Tally,
    pub fought: Duration,
    pub goes_on: bool,
    pub is_free: bool,
}

impl Verdict<'_> {
    /// Printed on the real standard error, which the test harness does not capture.
    pub fn print(&self) {
        let (fight, tally) = (self.fight, &self.tally);
        let policy =
            if fight.terms.rules.kernel_lock_only { "kernel lock only" } else { "default policy" };
        let unnamed = fight.terms.rules.refused.is_empty() && has_tmpfile(&fight.arena.dir);
        let publishing = if unnamed { "unnamed" } else { "exclusive creation" };
        let namespace = if is_namespaced() { ", pid namespace" } else { "" };
        let heirs = match fight.terms.heir {
            Heir::Successor => String::new(),
            Heir::Stranger => format!(
                ", {} owners' pids had by strangers, {} killed before their stamp",
                fight.inherited, fight.unstamped
            ),
            Heir::Script => format!(
                ", {} owners' pids had by scripts, {} acquisitions by scripts",
                fight.inherited, tally.by_scripts
            ),
        };
        let line = format!(
            "TORTURE {policy}, {publishing}, {}{namespace}, {:.1} s: {} acquisitions, {} kills, {} stops, \
             {} planted{heirs}; violations {}, lost updates {}, stuck {}, longest gap {} ms, leftover files {}\n",
            file_system(&fight.arena.dir),
            self.fought.as_secs_f64(),
            tally.acquisitions,
            fight.kills,
            fight.stops,
            fight.planted,
            tally.violations.len(),
            tally.lost_updates,
            u8::from(self.is_stuck()),
            tally.longest_gap.as_millis(),
            fight.leftovers().len(),
        );
        io::stderr().write_all(line.as_bytes()).unwrap();
    }

    fn is_stuck(&self) -> bool {
        !self.goes_on || !self.is_free || self.tally.longest_gap >= LONGEST_GAP
    }

    pub fn judge(&self) {
        let (fight, tally) = (self.fight, &self.tally);
        let missing = tally.missing + count_in(&fight.arena).saturating_sub(tally.highest);
        assert_eq!(tally.violations.first(), None);
        assert_eq!(tally.lost_updates, 0);
        assert!(missing <= fight.kills, "{missing} steps missing after {} kills", fight.kills);
        assert!(
            !self.is_stuck(),
            "stuck: goes on {}, free after all were killed {}, longest gap {:?}",
            self.goes_on,
            self.is_free,
            tally.longest_gap
        );
        assert_eq!(fight.leftovers(), Vec::<String>::new());
        assert!(tally.acquisitions > 0 && fight.planted > 0);
        assert!(fight.kills > WORKERS as u64 || !fight.terms.kills);
        assert!(fight.inherited > 0 || fight.terms.heir == Heir::Successor);
        if fight.terms.heir == Heir::Stranger {
            // None if the file has its stamp before its name; otherwise the moment between record and stamp is
            // short.
            let most = if fight.terms.rules.refused.is_empty() { 0 } else { fight.inherited / 2 };
            assert!(fight.unstamped <= most, "{} of {}", fight.unstamped, fight.inherited);
        }
        assert!(tally.by_scripts > 0 || fight.terms.heir != Heir::Script);
    }
}

fn has_tmpfile(dir: &Path) -> bool {
    File::options().write(true).custom_flags(libc::O_TMPFILE).open(dir).is_ok()
}

fn file_system(dir: &Path) -> String {
    match statfs(dir).unwrap().filesystem_type() {
        statfs::TMPFS_MAGIC => "tmpfs".to_owned(),
        statfs::EXT4_SUPER_MAGIC => "ext4".to_owned(),
        statfs::XFS_SUPER_MAGIC => "xfs".to_owned(),
        statfs::BTRFS_SUPER_MAGIC => "btrfs".to_owned(),
        statfs::OVERLAYFS_SUPER_MAGIC => "overlayfs".to_owned(),
        statfs::FUSE_SUPER_MAGIC => "fuse".to_owned(),
        other => format!("{other:?}"),
    }
}
