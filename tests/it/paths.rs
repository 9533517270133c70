//! Bad paths: a clear error, and no harm.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use pidlockfile::{Error, Lockfile};

use crate::support::ability::require_able;
use crate::support::peer::Peer;
use crate::support::sandbox::{DEAD_PID, OTHER_USER, Sandbox, is_root, record_of, require};

mod refusals;

#[test]
fn a_path_that_is_not_absolute_or_names_no_file_is_refused() {
    for path in ["", "relative.pid", "./relative.pid", "/", "/run/", "/run/.", "/run/..", "/run/a/"]
    {
        match Lockfile::new(path) {
            Err(Error::NeedAbsPath { path: refused }) => assert_eq!(refused, Path::new(path)),
            other => panic!("{path}: {other:?}"),
        }
    }
    let with_nul = PathBuf::from(OsStr::from_bytes(b"/run/a\0b"));
    assert!(matches!(Lockfile::new(with_nul), Err(Error::NeedAbsPath { .. })));
}

#[test]
fn a_path_is_kept_as_it_is_and_not_looked_at() {
    for path in ["/run/a.pid", "/no/such/dir/a", "/run/../run/a.pid", "/run//a", "/run/...", "/a"] {
        assert_eq!(Lockfile::new(path).unwrap().path(), Path::new(path));
    }
}

#[test]
fn names_that_are_not_utf8_work() {
    require_able!(AnyName);
    let sandbox = Sandbox::new();
    let path = sandbox.dir().join(OsStr::from_bytes(b"caf\xe9 \n\xff.pid"));
    let guard = Lockfile::new(&path).unwrap().try_lock().unwrap();
    assert!(path.exists());
    guard.unlock().unwrap();
    assert!(!path.exists());
}

#[test]
fn the_longest_name_works_however_the_file_is_published() {
    require_able!(NamesOf255Bytes);
    for refused in [None, Some("tmpfile")] {
        let sandbox = Sandbox::new();
        let path = sandbox.dir().join("n".repeat(255));
        let mut peer = Peer::at(&path);
        if let Some(call) = refused {
            peer.must(&format!("refuse {call}"));
        }
        peer.must("try_lock");
        assert!(path.exists());
        peer.must("unlock");
        assert_eq!(sandbox.names(), Vec::<String>::new());
    }
}

fn assert_io(result: Result<impl std::fmt::Debug, Error>, expected: &str, kind: ErrorKind) {
    match result {
        Err(Error::Io { action, source, .. }) => {
            assert_eq!((action, source.kind()), (expected, kind));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_that_is_too_long_is_a_permanent_error() {
    require_able!(NameLimitAtOnce);
    let sandbox = Sandbox::new();
    let lockfile = Lockfile::new(sandbox.dir().join("n".repeat(256))).unwrap();
    assert_io(lockfile.try_lock(), "open", ErrorKind::InvalidFilename);
    assert_io(lockfile.owner(), "open", ErrorKind::InvalidFilename);
}

#[test]
fn a_missing_directory_is_a_permanent_error() {
    let sandbox = Sandbox::new();
    let lockfile = Lockfile::new(sandbox.dir().join("missing/test.pid")).unwrap();
    assert_io(lockfile.try_lock(), "create", ErrorKind::NotFound);
    assert_eq!(lockfile.owner().unwrap(), None);
}

#[test]
fn a_file_in_place_of_the_directory_is_a_permanent_error() {
    let sandbox = Sandbox::new();
    sandbox.plant("");
    let lockfile = Lockfile::new(sandbox.path().join("test.pid")).unwrap();
    assert_io(lockfile.try_lock(), "open", ErrorKind::NotADirectory);
}

/// Has an ordinary user try to lock, and returns the answer.
fn try_lock_as_other_user(path: &Path) -> String {
    let mut peer = Peer::at(path);
    peer.must(&format!("become {OTHER_USER}"));
    peer.ask("try_lock")
}

#[test]
fn a_directory_that_may_not_be_written_is_a_permanent_error() {
    require!(is_root(), "needs root, to become another user");
    require_able!(Users);
    let sandbox = Sandbox::new();
    let answer = try_lock_as_other_user(&sandbox.path());
    assert!(answer.starts_with("Io { action: \"create\""), "{answer}");
    assert!(answer.contains("PermissionDenied"), "{answer}");
}

fn assert_not_a_file(sandbox: &Sandbox, expected: &str) {
    for result in [sandbox.lockfile().try_lock().map(drop), sandbox.lockfile().owner().map(drop)] {
        match result {
            Err(Error::NotAFile { path, found }) => {
                assert_eq!((path, found), (sandbox.path(), expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(sandbox.path().symlink_metadata().is_ok(), "it was removed");
}

#[test]
fn a_directory_is_not_a_file() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path()).unwrap();
    assert_not_a_file(&sandbox, "a directory");
}

#[test]
fn a_symlink_is_never_followed_and_its_victim_is_untouched() {
    require_able!(Symlinks);
    let sandbox = Sandbox::new();
    let victim = sandbox.dir().join("victim");
    fs::write(&victim, record_of(DEAD_PID)).unwrap();
    symlink(&victim, sandbox.path()).unwrap();
    assert_not_a_file(&sandbox, "a symbolic link");
    assert_eq!(fs::read_to_string(&victim).unwrap(), record_of(DEAD_PID));
}

#[test]
fn a_dangling_symlink_is_not_a_file() {
    require_able!(Symlinks);
    let sandbox = Sandbox::new();
    let victim = sandbox.dir().join("victim");
    symlink(&victim, sandbox.path()).unwrap();
    assert_not_a_file(&sandbox, "a symbolic link");
    assert!(!victim.exists());
}

#[test]
fn a_planted_hard_link_costs_its_name_and_not_its_data() {
    require_able!(HardLinks);
    let sandbox = Sandbox::new();
    let victim = sandbox.dir().join("victim");
    fs::write(&victim, "data").unwrap();
    fs::hard_link(&victim, sandbox.path()).unwrap();
    sandbox.lock().unlock().unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "data");
}

#[test]
fn a_fifo_is_not_a_file_and_blocks_nobody() {
    require_able!(Fifos);
    let sandbox = Sandbox::new();
    mkfifo(&sandbox.path(), Mode::S_IRWXU).unwrap();
    assert_not_a_file(&sandbox, "a fifo");
}

#[test]
fn a_socket_is_not_a_file() {
    require_able!(Sockets);
    let sandbox = Sandbox::new();
    let _listener = UnixListener::bind(sandbox.path()).unwrap();
    assert_not_a_file(&sandbox, "a socket");
}

#[test]
fn a_device_is_not_a_file() {
    require!(is_root(), "needs root, to make a device");
    require_able!(Devices);
    // Our own device, because if this test fails, the device is removed.
    let sandbox = Sandbox::new();
    mknod(&sandbox.path(), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap();
    assert_not_a_file(&sandbox, "a device");
}

#[test]
fn a_symlink_in_the_directory_part_is_followed() {
    require_able!(FollowedSymlinks);
    let sandbox = Sandbox::new();
    let real = sandbox.dir().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, sandbox.dir().join("link")).unwrap();
    let guard = Lockfile::new(sandbox.dir().join("link/test.pid")).unwrap().try_lock().unwrap();
    assert!(real.join("test.pid").exists());
    guard.unlock().unwrap();
}
