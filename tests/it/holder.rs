//! The process that holds the lock is found if it can be proven, and nobody else is ever taken for it.

#[cfg(feature = "retry")]
mod control;
pub mod crowd;
mod namespaces;
mod schedule;

use std::fs::{self, File};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use pidlockfile::{Error, Holder, Lockfile};

use crate::fork::Survivor;
use crate::leftover::plant_leftover;
use crate::peer::Peer;
use crate::sandbox::{
    Bystander, DEAD_PID, OTHER_USER, Sandbox, is_root, record_of, require, set_mode,
};
use crate::trace::{Traced, require_traced};

const LONG: Option<Duration> = Some(Duration::from_secs(60));

/// What a peer says to `holder`: a pid, `nobody` or the error.
pub fn answer(lockfile: &Lockfile) -> String {
    match lockfile.holder() {
        Ok(Some(holder)) => holder.pid().to_string(),
        Ok(None) => "nobody".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// What a peer does to `kill_holder`; it says as much as to `holder`.
pub fn kill(lockfile: &Lockfile) -> String {
    match lockfile.holder() {
        Ok(Some(holder)) => {
            holder.kill().unwrap();
            holder.pid().to_string()
        }
        Ok(None) => "nobody".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// Asks for the holder with all privileges, and ends it with those that are left after `change`.
pub fn signal_after(lockfile: &Lockfile, change: impl FnOnce()) -> String {
    let holder = holder(lockfile);
    change();
    match holder.terminate() {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// Waits for the holder while signals come, to this very thread.
pub fn wait_among_signals(lockfile: &Lockfile) {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler adds to a number.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let (waiter, over) = (pthread_self(), AtomicBool::new(false));
    let limit = Duration::from_millis(100);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                pthread_kill(waiter, Signal::SIGUSR1).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let started = Instant::now();
        let ended = holder(lockfile).wait(Some(limit));
        let elapsed = started.elapsed();
        over.store(true, Ordering::SeqCst);
        assert!(!ended.unwrap());
        assert!(elapsed >= limit);
        assert!(HANDLED.load(Ordering::SeqCst) > 0);
    });
}

/// Takes the kernel lock through a file that is open for reading only.
pub fn lock_for_reading(path: &Path, how: &str) {
    let file = File::open(path).unwrap();
    match how {
        "shared" => file.lock_shared().unwrap(),
        "exclusive" => file.lock().unwrap(),
        _ => {}
    }
    let _for_good = file.into_raw_fd();
}

fn holder(lockfile: &Lockfile) -> Holder {
    lockfile.holder().unwrap().expect("somebody holds the lock")
}

#[track_caller]
fn assert_holder(sandbox: &Sandbox, pid: u32) {
    assert_eq!(holder(&sandbox.lockfile()).pid(), pid);
}

/// The lock is held, or honoured, but not proven, for this reason.
#[track_caller]
fn assert_unproven(sandbox: &Sandbox, hint: Option<u32>, because: &str) {
    match sandbox.lockfile().holder() {
        Err(error @ Error::Unproven { pid, .. }) => {
            assert_eq!(pid, hint);
            assert!(error.to_string().contains(because), "{error}");
            assert!(!error.is_temporary());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_holder_is_the_process_that_took_the_lock() {
    for refused in crate::schedule::PUBLISHING {
        let sandbox = Sandbox::new();
        let mut owner = Peer::at(&sandbox.path());
        for call in *refused {
            owner.must(&format!("refuse {call}"));
        }
        owner.must("try_lock");
        assert_holder(&sandbox, owner.pid());
        assert_eq!(owner.ask("holder"), owner.pid().to_string(), "asked by itself");
        owner.must("unlock");
        assert!(sandbox.lockfile().holder().unwrap().is_none());
    }
}

#[test]
fn a_lock_that_nobody_holds_has_no_holder_and_is_left_as_it_is() {
    let live = Bystander::new();
    let plant: [&dyn Fn(&Sandbox); 6] = [
        &|_| (),
        &|sandbox| sandbox.plant(record_of(DEAD_PID)),
        &|sandbox| sandbox.plant(""),
        &|sandbox| sandbox.plant("junk"),
        &|sandbox| plant_leftover(&sandbox.path(), live.pid()),
        // Our own pid without a kernel lock is an earlier process's.
        &|sandbox| sandbox.plant(record_of(std::process::id())),
    ];
    for plant in plant {
        let sandbox = Sandbox::new();
        plant(&sandbox);
        let before = state(&sandbox);
        assert!(sandbox.lockfile().holder().unwrap().is_none(), "{before:?}");
        assert_eq!(state(&sandbox), before);
        sandbox.assert_free_and_clean();
    }
}

/// All that an outsider can tell of the file.
fn state(sandbox: &Sandbox) -> Option<(Vec<u8>, u64, i64, i64)> {
    let stat = fs::metadata(sandbox.path()).ok()?;
    Some((fs::read(sandbox.path()).unwrap(), stat.ino(), stat.mtime_nsec(), stat.ctime_nsec()))
}

#[test]
fn what_is_no_lock_file_is_the_error_that_try_lock_gives() {
    let sandbox = Sandbox::new();
    sandbox.plant("some letter to somebody\n");
    assert!(matches!(sandbox.lockfile().holder(), Err(Error::NotAPidFile { .. })));
    fs::remove_file(sandbox.path()).unwrap();
    fs::create_dir(sandbox.path()).unwrap();
    assert!(matches!(sandbox.lockfile().holder(), Err(Error::NotAFile { .. })));
}

#[test]
fn after_adopt_the_holder_is_the_adopter() {
    let sandbox = Sandbox::new();
    let mut parent = Peer::holding(&sandbox.path());
    parent.must("fork");
    let child = parent.ask("child pid").parse().unwrap();
    assert_holder(&sandbox, parent.pid());
    parent.must("child adopt");
    assert_holder(&sandbox, child);
    parent.must("drop");
    assert_holder(&sandbox, child);
    parent.must("child unlock");
    assert!(sandbox.lockfile().holder().unwrap().is_none());
}

fn owner_with_a_child_that_stays(sandbox: &Sandbox) -> (Peer, Survivor) {
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("fork");
    let child = Survivor(owner.ask("pid_of_child").parse().unwrap());
    owner.must("child stay");
    (owner, child)
}

#[test]
fn the_child_of_a_killed_owner_is_not_taken_for_the_owner() {
    let sandbox = Sandbox::new();
    let (mut owner, _child) = owner_with_a_child_that_stays(&sandbox);
    let pid = owner.pid();
    owner.kill_without_reaping();
    assert_unproven(&sandbox, Some(pid), "it has ended, and a child of it or a reader");
    assert!(owner.end_by_signal().is_some());
    assert_unproven(&sandbox, Some(pid), "it has ended, and a child of it or a reader");
}

#[test]
fn a_reader_is_not_taken_for_the_holder() {
    for (how, because) in
        [("shared", "nobody has the kernel lock"), ("exclusive", "for reading only")]
    {
        // Its own pid is in the file, as in the file of an owner that had it before.
        let sandbox = Sandbox::new();
        let mut reader = Peer::at(&sandbox.path());
        sandbox.plant(record_of(reader.pid()));
        reader.must(&format!("lock_for_reading {how}"));
        assert_unproven(&sandbox, Some(reader.pid()), because);
    }
    // A leftover, known to be one.
    let sandbox = Sandbox::new();
    let mut reader = Peer::at(&sandbox.path());
    plant_leftover(&sandbox.path(), reader.pid());
    reader.must("lock_for_reading shared");
    assert!(sandbox.lockfile().holder().unwrap().is_none());
}

/// The worst case of a recycled pid: the killed owner's child keeps the kernel lock, and the process that
/// got the owner's pid has the file open.
#[test]
fn a_process_with_a_killed_owners_pid_that_reads_the_file_is_not_taken_for_the_holder() {
    let sandbox = Sandbox::new();
    let (mut owner, _child) = owner_with_a_child_that_stays(&sandbox);
    owner.kill();
    for mode in [false, true] {
        let mut stranger = Peer::at(&sandbox.path());
        fs::write(sandbox.path(), record_of(stranger.pid())).unwrap();
        stranger.must("lock_for_reading without");
        let _writer = mode.then(|| stranger.must("open_for_writing"));
        assert_unproven(&sandbox, Some(stranger.pid()), "it does not have the kernel lock");
    }
}

#[test]
fn a_reader_beside_the_owner_changes_nothing() {
    let sandbox = Sandbox::new();
    let owner = Peer::holding(&sandbox.path());
    let mut reader = Peer::at(&sandbox.path());
    reader.must("lock_for_reading without");
    assert_holder(&sandbox, owner.pid());
}

#[test]
fn a_script_that_recorded_its_pid_is_named_as_a_hint() {
    let sandbox = Sandbox::new();
    let script = Bystander::new();
    sandbox.plant(record_of(script.pid()));
    assert_unproven(&sandbox, Some(script.pid()), "nobody has the kernel lock");
    let by_kernel_lock = sandbox.lockfile().kernel_lock_only();
    assert!(by_kernel_lock.holder().unwrap().is_none());
}

/// `flock FILE COMMAND`, as scripts do it, and a shell that has both: the lock, and its pid in the file.
#[test]
fn of_flock_1_as_the_owner_is_said_what_is_known() {
    let sandbox = Sandbox::new();
    let mut flock = Command::new("flock")
        .args(["-n".as_ref(), sandbox.path().as_os_str(), "sh".as_ref(), "-c".as_ref()])
        .arg("echo; read -r line")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    read_a_line(flock.stdout.as_mut().unwrap());
    assert_unproven(&sandbox, None, "no pid is recorded, as when flock(1) holds the lock");
    drop(flock.stdin.take());
    flock.wait().unwrap();

    let script = r#"exec 9>"$0"; flock -n 9; echo $$ >&9; echo; read -r line"#;
    let mut shell = Command::new("sh")
        .args(["-c".as_ref(), script.as_ref(), sandbox.path().as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    read_a_line(shell.stdout.as_mut().unwrap());
    assert_holder(&sandbox, shell.id());
    drop(shell.stdin.take());
    shell.wait().unwrap();
}

fn read_a_line(output: &mut impl std::io::Read) {
    let mut byte = [0];
    output.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"\n");
}

#[test]
fn an_attempt_that_looks_at_the_file_with_its_own_pid_is_not_taken_for_the_holder() {
    let sandbox = Sandbox::new();
    let peer = Peer::at(&sandbox.path());
    let pid = peer.pid();
    plant_leftover(&sandbox.path(), pid);
    let mut attempt = require_traced!(Traced::new(peer));
    // It has the kernel lock of the stale file.
    assert!(attempt.run_to("try_lock", |call| call.number == libc::SYS_pread64));
    assert_unproven(&sandbox, Some(pid), "for reading only");
    let mut peer = attempt.go_on();
    assert_eq!(peer.answer(), "ok");
    assert_holder(&sandbox, pid);
}

#[test]
fn an_owner_whose_thread_has_descriptors_of_its_own_is_found() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::at(&sandbox.path());
    owner.must("lock_in_a_thread");
    assert_holder(&sandbox, owner.pid());
}

#[test]
fn an_owner_whose_first_thread_has_ended_is_found() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    owner.must("fork");
    owner.must("child adopt");
    let child = owner.ask("pid_of_child").parse().unwrap();
    // From here on it is the child that hears the commands.
    owner.must("child go_on_in_a_thread");
    assert_holder(&sandbox, child);
}

/// There the kernel's own name for the file has to agree, too.
#[test]
fn on_a_file_system_that_is_not_local_the_holder_is_found() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::at(&sandbox.path());
    owner.must("refuse tmpfile");
    owner.must("try_lock");
    let mut asker = Peer::at(&sandbox.path());
    asker.must("refuse statfs");
    assert_eq!(asker.ask("holder"), owner.pid().to_string());
    // A second name of the same inode number is no proof there.
    fs::rename(sandbox.path(), sandbox.dir().join("other")).unwrap();
    fs::hard_link(sandbox.dir().join("other"), sandbox.path()).unwrap();
    let answer = asker.ask("holder");
    assert!(answer.starts_with("Unproven {"), "{answer}");
}

#[test]
fn what_the_system_does_not_show_is_no_proof_and_the_text_says_why() {
    require!(is_root(), "needs root, to hide /proc");
    for (cover, because) in [
        ("hide_proc", "/proc is not mounted, or is that of other processes"),
        ("refuse pidfd", "the system gives no pidfd of it"),
    ] {
        let sandbox = Sandbox::new();
        let owner = Peer::holding(&sandbox.path());
        let mut asker = Peer::at(&sandbox.path());
        asker.must(cover);
        let text = asker.ask("holder_text");
        assert!(text.contains(because) && text.contains(&owner.pid().to_string()), "{text}");
        // Nobody is nobody, all the same.
        drop(owner);
        assert_eq!(asker.ask("holder"), "nobody", "{cover}");
    }
}

#[test]
fn an_ordinary_user_proves_its_own_process_and_no_other_users() {
    require!(is_root(), "needs root, to become another user");
    let sandbox = Sandbox::new();
    set_mode(sandbox.dir(), 0o777);
    let mut own = Peer::at(&sandbox.path());
    own.must(&format!("become {OTHER_USER}"));
    own.must("mode 644");
    own.must("try_lock");
    // The kernel hides the files of a process that has changed its user, until it calls execve(2).
    let mut asker = Peer::at(&sandbox.path());
    asker.must(&format!("become {OTHER_USER}"));
    let text = asker.ask("holder_text");
    assert!(text.contains("this user may not see its open files"), "{text}");
    own.must("be_dumpable");
    for (user, proven) in [(OTHER_USER, true), (OTHER_USER - 1, false)] {
        let mut asker = Peer::at(&sandbox.path());
        asker.must(&format!("become {user}"));
        let answer = asker.ask("holder");
        if proven {
            assert_eq!(answer, own.pid().to_string());
        } else {
            assert!(answer.contains("this user may not see its open files"), "{answer}");
            assert!(answer.contains(&own.pid().to_string()), "{answer}");
        }
    }
}

#[test]
fn with_hidepid_another_users_process_is_not_proven_and_one_s_own_is() {
    require!(is_root(), "needs root, to mount /proc");
    let sandbox = Sandbox::new();
    set_mode(sandbox.dir(), 0o777);
    for (user, because) in [(0, "/proc does not show it to this user"), (OTHER_USER, "")] {
        let mut owner = Peer::at(&sandbox.path());
        owner.must(&format!("become {user}"));
        owner.must("be_dumpable");
        owner.must("mode 644");
        owner.must("try_lock");
        let mut asker = Peer::at(&sandbox.path());
        asker.must("mount_proc hidepid=2");
        asker.must(&format!("become {OTHER_USER}"));
        let answer = asker.ask("holder");
        if because.is_empty() {
            assert_eq!(answer, owner.pid().to_string());
        } else {
            assert!(answer.contains(because), "{answer}");
        }
        owner.must("unlock");
    }
}

#[test]
fn signals_reach_the_holder_and_a_wait_ends_with_it() {
    for number in [Signal::SIGTERM, Signal::SIGKILL] {
        let signal = match number {
            Signal::SIGTERM => Holder::terminate,
            _ => Holder::kill,
        };
        let sandbox = Sandbox::new();
        let mut owner = Peer::holding(&sandbox.path());
        let holder = holder(&sandbox.lockfile());
        assert!(!holder.wait(Some(Duration::ZERO)).unwrap());
        signal(&holder).unwrap();
        assert!(holder.wait(LONG).unwrap());
        assert!(holder.wait(None).unwrap());
        // It has ended: as a zombie, and with its number free again.
        signal(&holder).unwrap();
        assert_eq!(owner.end_by_signal(), Some(number as i32));
        signal(&holder).unwrap();
        assert!(sandbox.lockfile().holder().unwrap().is_none());
    }
}

#[test]
fn signals_do_not_end_a_wait() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    Peer::at(&sandbox.path()).must("wait_among_signals");
}

#[test]
fn another_users_process_may_not_be_signalled_and_the_error_says_so() {
    require!(is_root(), "needs root, to become another user");
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let mut asker = Peer::at(&sandbox.path());
    let answer = asker.ask(&format!("signal_after_becoming {OTHER_USER}"));
    assert!(answer.starts_with("Io { action: \"signal the holder of\""), "{answer}");
    owner.must("verify");
}

#[test]
fn a_poll_loop_of_ones_own_hears_the_end_by_the_pidfd() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let mut polled = [PollFd::new(holder.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut polled, PollTimeout::ZERO), Ok(0));
    owner.kill();
    assert_eq!(poll(&mut polled, PollTimeout::NONE), Ok(1));
}

#[cfg(feature = "retry")]
#[test]
fn a_cancelled_token_ends_a_wait() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let token = pidlockfile::retry::CancelToken::new().unwrap();
    assert!(!holder.wait_or_cancelled(Some(Duration::from_millis(1)), &token).unwrap());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| holder.wait_or_cancelled(None, &token));
        token.cancel();
        assert!(!waits.join().unwrap().unwrap());
    });
    assert!(!holder.wait_or_cancelled(None, &token).unwrap());
    owner.kill();
    assert!(holder.wait_or_cancelled(LONG, &token).unwrap(), "it has ended, cancelled or not");
    let fresh = pidlockfile::retry::CancelToken::new().unwrap();
    assert!(holder.wait_or_cancelled(None, &fresh).unwrap());
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_wait_needs_no_driver_of_the_runtime() {
    let sandbox = Sandbox::new();
    let mut owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let limit = Duration::from_millis(20);
    let started = Instant::now();
    assert!(!runtime.block_on(holder.wait_async(Some(limit))).unwrap());
    assert!(started.elapsed() >= limit);
    // A wait that is dropped keeps no thread, for which the end of the runtime would wait.
    runtime.block_on(async {
        let mut wait = std::pin::pin!(holder.wait_async(None));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(wait.as_mut().poll(context).is_pending())
        });
        // Pinned outside, and so dropped with this block.
        assert!(polled.await);
    });
    runtime.block_on(async {
        owner.kill();
        assert!(holder.wait_async(None).await.unwrap());
    });
    drop(runtime);
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_wait_outside_a_runtime_is_an_error_and_no_panic() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    let holder = holder(&sandbox.lockfile());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut wait = std::pin::pin!(holder.wait_async(None));
    let std::task::Poll::Ready(Err(error)) = wait.as_mut().poll(&mut context) else {
        panic!("it waits for nobody");
    };
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("no reactor running"), "{text}");
}
