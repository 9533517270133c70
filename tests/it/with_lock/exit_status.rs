//! Its exit statuses where there is no lock or no command, which are those of sysexits.h as in flock(1).

use std::fs;
use std::os::unix::process::CommandExt as _;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};

use super::{answer, output, with_lock};
use crate::support::sandbox::{Sandbox, require};

#[test]
fn a_file_that_is_no_lock_file_is_wrong_data_and_stays() {
    let sandbox = Sandbox::new();
    sandbox.plant("#!/bin/sh\necho hello\n");
    let (code, out, complaint) = output(&[], &sandbox, &["echo", "hello"]);
    assert_eq!((code, out.as_str()), (Some(65), ""), "{complaint}");
    assert_eq!(sandbox.record(), "#!/bin/sh\necho hello\n");
}

#[test]
fn a_path_where_no_file_can_be_opened_is_no_input() {
    let sandbox = Sandbox::new();
    let path = sandbox.path();
    fs::create_dir(&path).unwrap();
    let (code, _, complaint) = output(&[], &sandbox, &["true"]);
    assert_eq!(code, Some(66));
    let is_a_directory =
        format!("with_lock: {} is a directory and not a regular file\n", path.display());
    assert_eq!(complaint, is_a_directory);

    fs::remove_dir(&path).unwrap();
    let mut command = with_lock(&[], &sandbox, &["true"]);
    fs::remove_dir(sandbox.dir()).unwrap();
    let (code, _, complaint) = answer(command.output().unwrap());
    fs::create_dir(sandbox.dir()).unwrap();
    assert_eq!(code, Some(66));
    assert!(
        complaint.starts_with(&format!("with_lock: cannot create {}: ", path.display())),
        "{complaint}"
    );
}

#[test]
fn a_command_that_cannot_run_is_unavailable_and_named() {
    for missing in ["/no/such/program", "/"] {
        let sandbox = Sandbox::new();
        let (code, _, complaint) = output(&[], &sandbox, &[missing]);
        assert_eq!(code, Some(69));
        assert!(
            complaint.starts_with(&format!("with_lock: cannot run {missing}: ")),
            "{complaint}"
        );
        sandbox.assert_free_and_clean();
    }
}

#[test]
fn a_lack_of_descriptors_is_an_error_of_the_system() {
    let sandbox = Sandbox::new();
    let mut command = with_lock(&[], &sandbox, &["true"]);
    // SAFETY: setrlimit(2) is async-signal-safe. One more than the standard ones is for the loader.
    unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 4, 4)?)) };
    let (code, _, complaint) = answer(command.output().unwrap());
    assert_eq!(code, Some(71), "{complaint}");
}

#[test]
fn a_read_only_directory_is_one_where_nothing_can_be_created() {
    let sandbox = Sandbox::new();
    let mut command = with_lock(&[], &sandbox, &["true"]);
    let dir = sandbox.dir().to_owned();
    let mount_read_only = move || {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        Ok(mount(Some("none"), &dir, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>)?)
    };
    // SAFETY: unshare(2) and mount(2) are system calls, and a short path needs no allocation.
    unsafe { command.pre_exec(mount_read_only) };
    let Ok(answered) = command.output() else {
        return require!(false, "needs a mount namespace of its own");
    };
    let (code, _, complaint) = answer(answered);
    assert_eq!(code, Some(73), "{complaint}");
}
