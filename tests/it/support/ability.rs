//! What the file system under test can do besides locking: a test that needs more is skipped.
//!
//! All abilities are tried, with std alone, where the tests have their files.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use nix::libc;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
    XFS_SUPER_MAGIC, statfs,
};
use nix::unistd::mkfifo;

use crate::support::sandbox::{OTHER_USER, is_root, set_mode, test_dir};

#[derive(Clone, Copy, Debug)]
pub enum Ability {
    Modes,
    Users,
    HardLinks,
    Symlinks,
    FollowedSymlinks,
    Fifos,
    Sockets,
    Devices,
    AnyName,
    NamesOf255Bytes,
    /// It refuses a name that is too long in a lookup, and not only in a creation.
    NameLimitAtOnce,
    /// A removed file that is still open has link count 0. Some FUSE servers rename it instead.
    LinkCountOfRemovedFiles,
    UnnamedFiles,
    /// It is local, and keeps the nanoseconds of a time.
    Stamps,
}

impl Ability {
    pub fn is_there(self) -> bool {
        let dir = tempfile::tempdir_in(test_dir()).unwrap();
        self.is_in(dir.path()).unwrap_or(false)
    }

    fn is_in(self, dir: &Path) -> io::Result<bool> {
        let (file, other) = (dir.join("file"), dir.join("other"));
        File::create(&file)?;
        Ok(match self {
            Ability::Modes => [0o400, 0o640, 0o666].into_iter().all(|mode| {
                fs::set_permissions(&file, Permissions::from_mode(mode)).is_ok()
                    && fs::metadata(&file).is_ok_and(|file| file.mode() & 0o7777 == mode)
            }),
            Ability::Users => is_root() && tells_users_apart(dir),
            Ability::HardLinks => fs::hard_link(&file, &other).is_ok(),
            Ability::Symlinks => symlink(&file, &other).is_ok(),
            Ability::FollowedSymlinks => {
                symlink(dir, &other)?;
                other.join("file").exists()
            }
            Ability::Fifos => {
                mkfifo(&other, Mode::S_IRWXU)?;
                fs::symlink_metadata(&other)?.file_type().is_fifo()
            }
            Ability::Sockets => UnixListener::bind(&other).is_ok(),
            Ability::Devices => {
                mknod(&other, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3))?;
                fs::symlink_metadata(&other)?.file_type().is_char_device()
            }
            Ability::AnyName => {
                File::create(dir.join(OsStr::from_bytes(b"caf\xe9 \n\xff.pid"))).is_ok()
            }
            Ability::NamesOf255Bytes => {
                let longest = dir.join("n".repeat(255));
                File::create(&longest)?;
                fs::remove_file(longest).is_ok()
            }
            Ability::NameLimitAtOnce => File::open(dir.join("n".repeat(256)))
                .is_err_and(|error| error.kind() == ErrorKind::InvalidFilename),
            Ability::LinkCountOfRemovedFiles => {
                let file = File::open(&file)?;
                fs::remove_file(dir.join("file"))?;
                file.metadata().is_ok_and(|file| file.nlink() == 0)
            }
            Ability::Stamps => {
                let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_700);
                let times = FileTimes::new().set_modified(time);
                File::options().write(true).open(&file)?.set_times(times)?;
                fs::metadata(&file)?.modified()? == time && is_local(dir)
            }
            Ability::UnnamedFiles => {
                File::options().write(true).custom_flags(libc::O_TMPFILE).open(dir).is_ok()
            }
        })
    }
}

fn is_local(dir: &Path) -> bool {
    const RAMFS_MAGIC: FsType = FsType(0x8584_58F6);
    let disks = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC];
    let others = [TMPFS_MAGIC, RAMFS_MAGIC, OVERLAYFS_SUPER_MAGIC];
    statfs(dir).is_ok_and(|stat| [disks, others].concat().contains(&stat.filesystem_type()))
}

/// Whether another user owns the files that it creates, and may not open files without permission.
fn tells_users_apart(dir: &Path) -> bool {
    let made_by_the_other = |name: &str| {
        let path = dir.join(name);
        let status = Command::new("sh")
            .args(["-c", r#": > "$0""#])
            .arg(&path)
            .uid(OTHER_USER)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
            && fs::metadata(path).is_ok_and(|file| file.uid() == OTHER_USER)
    };
    set_mode(dir, 0o777);
    let welcome = made_by_the_other("welcome");
    set_mode(dir, 0o755);
    welcome && !made_by_the_other("unwelcome")
}

/// Skips a test that needs what the file system lacks, and says so.
macro_rules! require_able {
    ($($ability:ident),+) => {
        $(
            let ability = $crate::support::ability::Ability::$ability;
            let reason = format!("needs a file system that can do {ability:?}");
            $crate::support::sandbox::require!(ability.is_there(), &reason);
        )+
    };
}
pub(crate) use require_able;
