//! What the system refuses: no space, no descriptor, no permission to write, no flock(2).

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::paths::assert_io;
use crate::support::peer::Peer;
use crate::support::sandbox::{Sandbox, is_root, require};

/// A file system mounted on the sandbox's directory.
struct Tmpfs<'a>(&'a Sandbox);

impl Tmpfs<'_> {
    fn mount<'a>(sandbox: &'a Sandbox, flags: MsFlags, options: &str) -> Tmpfs<'a> {
        let options = CString::new(options).unwrap();
        let fstype = Some("tmpfs");
        mount(fstype, sandbox.dir(), fstype, flags, Some(options.as_c_str())).unwrap();
        Tmpfs(sandbox)
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        // Detached, because a process that another test is just starting may have copies of our files.
        let unmounted = umount2(self.0.dir(), MntFlags::MNT_DETACH);
        assert!(unmounted.is_ok() || thread::panicking());
    }
}

#[test]
fn a_read_only_file_system_is_a_permanent_error() {
    require!(is_root(), "needs root, to mount");
    let sandbox = Sandbox::new();
    let _mounted = Tmpfs::mount(&sandbox, MsFlags::MS_RDONLY, "size=64k");
    assert_io(sandbox.lockfile().try_lock(), "create", ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn a_full_disk_is_a_permanent_error_and_leaves_nothing() {
    require!(is_root(), "needs root, to mount");
    let sandbox = Sandbox::new();
    let _mounted = Tmpfs::mount(&sandbox, MsFlags::empty(), "size=64k");
    let filler = sandbox.dir().join("filler");
    assert_eq!(fs::write(&filler, vec![0; 1 << 20]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_io(sandbox.lockfile().try_lock(), "write", ErrorKind::StorageFull);
    assert_eq!(sandbox.names(), ["filler"]);

    // Emptied first, because a process that another test is just starting may keep the removed file alive.
    fs::write(&filler, "").unwrap();
    fs::remove_file(filler).unwrap();
    sandbox.assert_free_and_clean();
}

#[test]
fn a_file_size_limit_is_a_permanent_error_and_leaves_nothing() {
    for refused in [None, Some("tmpfile")] {
        let sandbox = Sandbox::new();
        let mut peer = Peer::at(&sandbox.path());
        if let Some(call) = refused {
            peer.must(&format!("refuse {call}"));
        }
        peer.must("limit_file_size 2");
        let answer = peer.ask("try_lock");
        assert!(answer.starts_with("Io { action: \"write\""), "{answer}");
        assert!(answer.contains("FileTooLarge"), "{answer}");
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn used_up_file_descriptors_are_a_permanent_error() {
    let sandbox = Sandbox::new();
    let mut peer = Peer::at(&sandbox.path());
    peer.must("limit_files 3");
    let answer = peer.ask("try_lock");
    assert!(answer.starts_with("Io { action: \"open\""), "{answer}");
    assert!(answer.contains("Too many open files"), "{answer}");
    peer.must("limit_files 64");
    peer.must("try_lock");
}

#[test]
fn a_file_system_without_flock_is_a_permanent_error_never_a_silent_success() {
    for (record, refused) in [(None, None), (None, Some("tmpfile")), (Some("junk"), None)] {
        let sandbox = Sandbox::new();
        if let Some(record) = record {
            sandbox.plant(record);
        }
        let names = sandbox.names();
        let mut peer = Peer::at(&sandbox.path());
        if let Some(call) = refused {
            peer.must(&format!("refuse {call}"));
        }
        peer.must("refuse flock");
        let answer = peer.ask("try_lock");
        assert!(answer.starts_with("Io { action: \"take the kernel lock of\""), "{answer}");
        assert_eq!(sandbox.names(), names);
    }
}
