//! The text of every error, word for word, and its kind.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use pidlockfile::{Error, Lockfile};

use crate::support::sandbox::DEAD_PID;

/// One error of each kind, with its text, whether it is temporary, and its kind as an `io::Error`.
#[expect(clippy::too_many_lines, reason = "a table")]
fn all() -> Vec<(Error, &'static str, bool, ErrorKind)> {
    let path = || PathBuf::from("/run/example.pid");
    vec![
        (
            Error::Busy { path: path(), pid: Some(1), kernel_locked: true },
            "/run/example.pid is locked by process 1",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::Busy { path: path(), pid: Some(DEAD_PID), kernel_locked: true },
            "/run/example.pid is locked, but its recorded process 2000000000 has ended, and a child of it or \
             a reader holds the kernel lock, or it runs in another container; `fuser` or `lsof` on the file \
             shows which",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::Busy { path: path(), pid: None, kernel_locked: true },
            "/run/example.pid is locked by a process that recorded no pid; `fuser` or `lsof` on the file \
             shows which",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::Busy { path: path(), pid: Some(42), kernel_locked: false },
            "/run/example.pid names the running process 42 as its owner, without a kernel lock; \
             if that is not the owner, remove the file or use kernel_lock_only",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::NotExist { path: path() },
            "/run/example.pid came and went on every try",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::NeedAbsPath { path: PathBuf::from("a\0b") },
            r"`a\u{0}b` holds a NUL byte",
            false,
            ErrorKind::InvalidInput,
        ),
        (
            Error::InvalidPid { path: path() },
            "/run/example.pid holds no valid pid",
            false,
            ErrorKind::InvalidData,
        ),
        (
            Error::DeadOwner { path: path(), pid: 42 },
            "/run/example.pid names process 42, which is dead",
            false,
            ErrorKind::InvalidData,
        ),
        (
            Error::RogueDeletion { path: path() },
            "/run/example.pid was removed, replaced or overwritten while it was locked, or a forked child \
             has adopted it",
            false,
            ErrorKind::Other,
        ),
        (
            Error::NotAdopted { path: path(), pid: 42 },
            "/run/example.pid is locked by process 42, and this one must adopt the lock first",
            false,
            ErrorKind::Other,
        ),
        (
            Error::NotAFile { path: path(), found: "a directory" },
            "/run/example.pid is a directory and not a regular file",
            false,
            ErrorKind::InvalidInput,
        ),
        (
            Error::Unproven { path: path(), pid: Some(42), reason: "it has ended" },
            "/run/example.pid names process 42, but nothing proves that it holds the lock: it has ended",
            false,
            ErrorKind::Other,
        ),
        (
            Error::Unproven { path: path(), pid: None, reason: "no pid is recorded" },
            "/run/example.pid is locked, but nothing proves by which process: no pid is recorded",
            false,
            ErrorKind::Other,
        ),
        (
            Error::NotAPidFile { path: path() },
            "/run/example.pid holds something other than a pid, so it is not taken for a lock file and stays \
             as it is; use another path for the lock, or remove the file",
            false,
            ErrorKind::InvalidData,
        ),
        (
            Error::Unreadable { path: path(), uid: 1000 },
            "/run/example.pid belongs to uid 1000 and may not be read by this user, so it is most likely \
             locked by that one; if no process of that user needs it, remove it; to share a lock, all its \
             users create it with a mode that lets the others read it",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::Unremovable {
                path: path(),
                uid: 1000,
                source: io::Error::from_raw_os_error(nix::libc::EPERM),
            },
            "/run/example.pid is stale, but belongs to uid 1000, and this user may neither remove nor write \
             it; remove it as that user, and share the lock in a setgid directory or with a mode that lets \
             others write it",
            false,
            ErrorKind::PermissionDenied,
        ),
        (
            Error::LostDescriptor { path: path() },
            "/run/example.pid is not locked any more: this process closed the file that held the lock, as a \
             daemonizer that closes all descriptors does",
            false,
            ErrorKind::Other,
        ),
        (
            Error::Io {
                action: "create",
                path: path(),
                source: io::Error::from_raw_os_error(nix::libc::EACCES),
            },
            "cannot create /run/example.pid",
            false,
            ErrorKind::PermissionDenied,
        ),
        (
            Error::Io {
                action: "open",
                path: path(),
                source: io::Error::from_raw_os_error(nix::libc::EWOULDBLOCK),
            },
            "cannot open /run/example.pid",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::Io {
                action: "take the kernel lock of",
                path: path(),
                source: io::Error::from_raw_os_error(nix::libc::EOPNOTSUPP),
            },
            "cannot take the kernel lock of /run/example.pid, whose file system has no flock(2), or no \
             server for it: use another directory",
            false,
            ErrorKind::Unsupported,
        ),
    ]
}

#[test]
fn each_error_says_what_where_and_what_to_do() {
    for (error, text, ..) in all() {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn errors_that_can_pass_by_themselves_are_temporary_and_no_others() {
    for (error, _, temporary, _) in all() {
        assert_eq!(error.is_temporary(), temporary, "{error}");
    }
}

#[test]
fn the_cause_is_the_source_and_is_not_repeated_in_the_text() {
    for (error, ..) in all() {
        match &error {
            Error::Io { .. } | Error::Unremovable { .. } => {
                let cause = error.source().unwrap().to_string();
                assert!(cause.contains("(os error "), "{cause}");
                assert!(!error.to_string().contains(&cause));
            }
            _ => assert!(error.source().is_none(), "{error}"),
        }
    }
}

#[test]
fn an_io_error_keeps_the_kind_and_the_error() {
    for (error, text, temporary, kind) in all() {
        let error = io::Error::from(error);
        assert_eq!(error.kind(), kind, "{text}");
        assert_eq!(temporary, kind == ErrorKind::WouldBlock, "{text}");
        assert_eq!(error.to_string(), text);
        let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!(inner.is_temporary(), temporary);
    }
}

#[test]
fn the_owner_learns_that_it_is_locked_by_itself() {
    let pid = std::process::id();
    let error = Error::Busy { path: "/run/a.pid".into(), pid: Some(pid), kernel_locked: true };
    assert_eq!(
        error.to_string(),
        format!(
            "/run/a.pid is locked by this process ({pid}), or by the one with its pid in another container"
        )
    );
}

#[test]
fn the_error_for_a_bad_path_says_why() {
    for (path, text) in [
        ("a.pid", "`a.pid` is relative; std::path::absolute makes it absolute"),
        (
            "~/a.pid",
            "`~/a.pid` is relative: `~` is for the shell to expand, so pass an absolute path",
        ),
        ("/run/", "`/run/` does not end in the name of a file"),
        ("/run/..", "`/run/..` does not end in the name of a file"),
        ("", "`` is relative; std::path::absolute makes it absolute"),
    ] {
        assert_eq!(Lockfile::new(path).unwrap_err().to_string(), text);
    }
}

#[test]
fn control_characters_of_a_path_are_escaped_in_every_text() {
    let ugly = PathBuf::from("/run/a\n\x1b[31m\u{85}.pid");
    for mut error in all().into_iter().map(|(error, ..)| error) {
        match &mut error {
            Error::Busy { path, .. }
            | Error::NotExist { path }
            | Error::NeedAbsPath { path }
            | Error::InvalidPid { path }
            | Error::DeadOwner { path, .. }
            | Error::RogueDeletion { path }
            | Error::NotAdopted { path, .. }
            | Error::NotAFile { path, .. }
            | Error::NotAPidFile { path }
            | Error::Unreadable { path, .. }
            | Error::Unremovable { path, .. }
            | Error::LostDescriptor { path }
            | Error::Unproven { path, .. }
            | Error::Io { path, .. } => path.clone_from(&ugly),
            other => panic!("{other:?} has a path, too?"),
        }
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.contains(r"/run/a\n\u{1b}[31m\u{85}.pid"), "{text}");
    }
}
