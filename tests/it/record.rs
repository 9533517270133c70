//! The content of the file: exactly `PID\n` from us, and what counts as a pid from others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use pidlockfile::Error;

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{Bystander, Sandbox};

#[test]
fn the_record_is_the_pid_and_a_newline_and_nothing_else() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    assert_eq!(fs::read(sandbox.path()).unwrap(), format!("{}\n", owner.pid()).into_bytes());
}

#[test]
fn a_shell_can_signal_the_owner() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    let status =
        Command::new("sh").arg("-c").arg(r#"kill -0 $(cat "$0")"#).arg(sandbox.path()).status();
    assert!(status.unwrap().success());
}

#[test]
fn the_file_is_private_to_its_user_unless_asked_otherwise_whatever_the_umask() {
    require_able!(Modes);
    for umask in ["000", "022", "077", "777"] {
        for (mode, expected) in
            [(None, 0o600), (Some("644"), 0o644), (Some("666"), 0o666), (Some("000"), 0o400)]
        {
            for refused in [None, Some("tmpfile")] {
                let sandbox = Sandbox::new();
                let mut peer = Peer::at(&sandbox.path());
                peer.must(&format!("umask {umask}"));
                if let Some(mode) = mode {
                    peer.must(&format!("mode {mode}"));
                }
                if let Some(call) = refused {
                    peer.must(&format!("refuse {call}"));
                }
                peer.must("try_lock");
                let mode = fs::metadata(sandbox.path()).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, expected, "umask {umask}");
            }
        }
    }
}

#[test]
fn the_first_line_of_another_program_counts_when_all_readers_agree_on_it() {
    let bystander = Bystander::new();
    let pid = bystander.pid();
    for record in [
        format!("{pid}"),
        format!("{pid}\n"),
        format!("{pid}\r\n"),
        format!("{pid:>10}\n"),
        format!("\t{pid} \n"),
        format!("{pid}\n/usr/bin/postgres\n5432\n"),
        format!("{pid}\n{}", "x".repeat(1000)),
    ] {
        let sandbox = Sandbox::new();
        sandbox.plant(&record);
        assert_eq!(sandbox.lockfile().owner().unwrap(), Some(pid), "{record:?}");
        assert!(matches!(
            sandbox.lockfile().try_lock(),
            Err(Error::Busy { kernel_locked: false, .. })
        ));
    }
}

#[test]
fn what_readers_disagree_on_is_no_pid() {
    let bystander = Bystander::new();
    let pid = bystander.pid();
    for record in [
        format!("0{pid}\n"),
        format!("+{pid}\n"),
        format!("-{pid}\n"),
        format!("0x{pid:x}\n"),
        format!("{pid} extra\n"),
        format!("{pid}.0\n"),
        format!("\n{pid}\n"),
        format!("{pid}\0\n"),
        format!("{pid:>65}\n"),
        format!("{pid:>1000}\n"),
        format!("{}\n", u64::from(pid) + (1 << 32)),
        "2147483648\n".to_owned(),
        "4294967295\n".to_owned(),
    ] {
        let sandbox = Sandbox::new();
        sandbox.plant(&record);
        assert!(matches!(sandbox.lockfile().owner(), Err(Error::InvalidPid { .. })), "{record:?}");
    }
}
