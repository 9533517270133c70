//! Another kernel or file system, simulated by seccomp(2), which refuses kinds of system calls.

use std::collections::BTreeMap;
use std::env;

use nix::libc;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Makes the kernel refuse a kind of system call from now on, as another kernel or file system does.
pub fn refuse(what: &str) {
    let flags = |argument, bits: i32| {
        let bits = u64::from(bits.cast_unsigned());
        let carries_bits = SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(bits),
            bits,
        );
        vec![SeccompRule::new(vec![carries_bits.unwrap()]).unwrap()]
    };
    let (call, rules, errno) = match what {
        "tmpfile" => (libc::SYS_openat, flags(2, libc::O_TMPFILE), libc::EOPNOTSUPP),
        "link_by_empty_path" => (libc::SYS_linkat, flags(4, libc::AT_EMPTY_PATH), libc::ENOENT),
        "link_by_proc" => (libc::SYS_linkat, flags(4, libc::AT_SYMLINK_FOLLOW), libc::ENOENT),
        // Then no file system is known to be local.
        "statfs" => (libc::SYS_fstatfs, vec![], libc::ENOSYS),
        "unlink_busy" => (libc::SYS_unlink, vec![], libc::EBUSY),
        "flock" => (libc::SYS_flock, vec![], libc::EOPNOTSUPP),
        "inotify" => (libc::SYS_inotify_init1, vec![], libc::EMFILE),
        "pidfd" => (libc::SYS_pidfd_open, vec![], libc::ENOSYS),
        _ => panic!("no such system call: {what}"),
    };
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, rules)]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        env::consts::ARCH.try_into().unwrap(),
    );
    let program = seccompiler::BpfProgram::try_from(filter.unwrap()).unwrap();
    seccompiler::apply_filter(&program).unwrap();
}
