//! What the errors say, word for word, and what they are.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use pidlockfile::{Error, LockGuard, Lockfile};

/// One of each, with what it says, whether it is temporary, and its kind as an `io::Error`.
fn all() -> Vec<(Error, &'static str, bool, ErrorKind)> {
    let path = || PathBuf::from("/run/example.pid");
    vec![
        (
            Error::Busy { path: path(), pid: Some(42), kernel_locked: true },
            "/run/example.pid is locked by process 42",
            true,
            ErrorKind::WouldBlock,
        ),
        (
            Error::Busy { path: path(), pid: None, kernel_locked: true },
            "/run/example.pid is locked by a process that recorded no pid; lslocks(8) finds it",
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
            r#""a\0b" is not an absolute path to a file"#,
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
            "/run/example.pid was removed, replaced or overwritten while it was locked",
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
            Error::NotAFile { path: path() },
            "/run/example.pid is not a regular file",
            false,
            ErrorKind::InvalidInput,
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
    ]
}

#[test]
fn each_error_says_what_where_and_what_to_do() {
    for (error, text, ..) in all() {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn busy_and_not_exist_are_temporary_and_nothing_else_is() {
    for (error, _, temporary, _) in all() {
        assert_eq!(error.is_temporary(), temporary, "{error}");
    }
}

#[test]
fn the_cause_is_the_source_and_not_in_the_text_too() {
    for (error, ..) in all() {
        match &error {
            Error::Io { .. } => {
                let cause = error.source().unwrap().to_string();
                assert_eq!(cause, "Permission denied (os error 13)");
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
fn public_types_go_where_a_user_needs_them() {
    fn anywhere<T: Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
    fn unwinds<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    anywhere::<Lockfile>();
    anywhere::<LockGuard>();
    anywhere::<Error>();
    unwinds::<Lockfile>();
    unwinds::<LockGuard>();
}
