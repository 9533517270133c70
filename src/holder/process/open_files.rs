//! Whether a process has the lock file open with the kernel lock: `/proc/PID/fd` and `fdinfo`.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::holder::process::Doubt;
use crate::incumbent::Incumbent;
use crate::inode::{is_local, proc_link};

/// How a process holds the lock file.
pub(super) enum Hold {
    None,
    /// Locked through a file that is open for reading only. An owner of ours never does that, but an attempt
    /// does while it looks at a stale file.
    LockedForReading,
    Locked,
}

impl Hold {
    /// The stronger of two threads' results. A thread that we may not examine counts less than a lock, but more
    /// than none.
    pub(super) fn or(one: Result<Hold, Doubt>, other: Result<Hold, Doubt>) -> Result<Hold, Doubt> {
        match (one, other) {
            (Ok(Hold::Locked), _) | (_, Ok(Hold::Locked)) => Ok(Hold::Locked),
            (Err(doubt), _) | (_, Err(doubt)) => Err(doubt),
            (Ok(Hold::None), other) => other,
            (one, _) => one,
        }
    }
}

/// What identifies the lock file among a process's open files.
pub(super) struct Sought {
    inode: Numbers,
    /// The kernel's name for it, on a file system where the numbers are no proof: it reuses them, and keeps its
    /// locks itself, so that the kernel does not list them.
    link: Option<PathBuf>,
}

#[derive(PartialEq)]
struct Numbers {
    device: (u32, u32),
    inode: u64,
}

impl Sought {
    pub(super) fn new(file: &Incumbent) -> Result<Sought, Doubt> {
        let inode = Numbers::of(file.file(), c"").map_err(|errno| io_doubt(errno.into()))?;
        let link = if is_local(file.file()) {
            None
        } else {
            Some(fs::read_link(proc_link(file.file())).map_err(|_| Doubt::NoProc)?)
        };
        Ok(Sought { inode, link })
    }
}

impl Numbers {
    /// The numbers of the file behind the name, as the kernel has them: asking a server could block for ever.
    fn of(directory: impl AsFd, name: &CStr) -> Result<Numbers, Errno> {
        let mut flags = AtFlags::STATX_DONT_SYNC;
        flags.set(AtFlags::EMPTY_PATH, name.is_empty());
        let stat = statx(directory, name, flags, StatxFlags::INO)?;
        Ok(Numbers { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino })
    }
}

/// A directory of /proc that shows a process, or one of its threads.
///
/// It refers to the same process even after the number has been given to another.
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// The directory of the process of `pidfd`, if that process calls itself `pid`.
    pub(super) fn of(pid: u32, pidfd: BorrowedFd<'_>) -> Result<Directory, Doubt> {
        // Find the process's number in this /proc, which can belong to another pid namespace than ours, and its
        // number in its own namespace, which it would have recorded.
        let info = format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd());
        let info = fs::read_to_string(info).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Doubt::NoProc,
            _ => io_doubt(error),
        })?;
        let numbers = |name| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.map(|line| line.split_ascii_whitespace().map(str::parse::<i64>))
        };
        let number = match numbers("Pid:").and_then(|mut numbers| numbers.next()) {
            Some(Ok(number @ 1..)) => number,
            Some(Ok(-1)) => return Err(Doubt::Ended),
            _ => return Err(Doubt::NoProc),
        };
        let own = numbers("NSpid:").and_then(Iterator::last);
        if own.is_some_and(|own| own != Ok(pid.into())) {
            return Err(Doubt::NotTheHolder);
        }
        match open_directory(CWD, format!("/proc/{number}").as_str()) {
            Ok(directory) => Ok(Directory(directory)),
            Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => Err(Doubt::ProcessHidden),
            Err(errno) => Err(io_doubt(errno.into())),
        }
    }

    /// The directories of its threads.
    pub(super) fn threads(&self) -> Result<Vec<Directory>, Doubt> {
        let list = || -> Result<Vec<Directory>, Errno> {
            let threads = open_directory(&self.0, "task")?;
            let mut directories = Vec::new();
            for entry in Dir::read_from(&threads)? {
                let entry = entry?;
                if entry.file_name().to_bytes().starts_with(b".") {
                    continue;
                }
                match open_directory(&threads, entry.file_name()) {
                    Ok(directory) => directories.push(Directory(directory)),
                    Err(Errno::NOENT | Errno::SRCH) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(directories)
        };
        list().or_else(|errno| seen(errno, Vec::new()))
    }

    /// How the process holds the sought file.
    pub(super) fn hold(&self, sought: &Sought) -> Result<Hold, Doubt> {
        self.search(sought).or_else(|errno| seen(errno, Hold::None))
    }

    fn search(&self, sought: &Sought) -> Result<Hold, Errno> {
        let table = open_directory(&self.0, "fd")?;
        let mut hold = Hold::None;
        for entry in Dir::read_from(&table)? {
            let entry = entry?;
            let number = entry.file_name();
            match Numbers::of(&table, number) {
                Ok(inode) if inode == sought.inode => {}
                Err(errno @ (Errno::ACCESS | Errno::PERM)) => return Err(errno),
                // Another file, or a descriptor that was just closed.
                _ => continue,
            }
            let Ok(info) = Info::read(&self.0, number) else { continue };
            let is_sought = match &sought.link {
                // The descriptor referred to the same file before its lock was read, and does so now.
                None => info.locked && Numbers::of(&table, number).as_ref() == Ok(&sought.inode),
                Some(link) => readlinkat(&table, number, Vec::new())
                    .is_ok_and(|text| Path::new(OsStr::from_bytes(text.to_bytes())) == link),
            };
            match (is_sought, info.writable) {
                (true, true) => return Ok(Hold::Locked),
                (true, false) => hold = Hold::LockedForReading,
                (false, _) => {}
            }
        }
        Ok(hold)
    }
}

/// What `fdinfo` says about an open file.
struct Info {
    writable: bool,
    /// Whether it has the exclusive flock(2), which the kernel lists for the file through which it was taken.
    locked: bool,
}

impl Info {
    fn read(process: &OwnedFd, number: &CStr) -> io::Result<Info> {
        let path = [b"fdinfo/", number.to_bytes()].concat();
        let file = openat(process, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text)?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        let is_exclusive = |line: &str| {
            let mut words = line.split_ascii_whitespace().skip(2);
            words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE")
        };
        Ok(Info {
            writable: flags
                .is_some_and(|flags| flags & OFlags::ACCMODE.bits() != OFlags::RDONLY.bits()),
            locked: text.lines().any(|line| line.starts_with("lock:") && is_exclusive(line)),
        })
    }
}

fn open_directory(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The meaning of a failed look at a process; `nothing` if it has ended, as the pidfd will tell.
fn seen<T>(errno: Errno, nothing: T) -> Result<T, Doubt> {
    match errno {
        Errno::NOENT | Errno::SRCH => Ok(nothing),
        Errno::ACCESS | Errno::PERM => Err(Doubt::FilesHidden),
        errno => Err(io_doubt(errno.into())),
    }
}

fn io_doubt(error: io::Error) -> Doubt {
    Doubt::Io("look at the owner of", error)
}
