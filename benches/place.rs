//! Where the lock files are.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{self, FsType};
use tempfile::TempDir;

/// A directory on some file system, removed in the end.
pub struct Place {
    directory: TempDir,
    pub file_system: String,
}

impl Place {
    /// In memory.
    pub fn tmpfs() -> Place {
        Place::below(Path::new("/dev/shm"))
    }

    /// Where Cargo builds, which is on a disk unless somebody has arranged otherwise.
    pub fn disk() -> Place {
        Place::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn below(parent: &Path) -> Place {
        let directory = tempfile::tempdir_in(parent).unwrap();
        let file_system = name(statfs::statfs(directory.path()).unwrap().filesystem_type());
        Place { directory, file_system }
    }

    /// The path of a lock file in a directory of its own.
    pub fn path_for(&self, candidate: &str) -> PathBuf {
        let directory = self.directory.path().join(candidate.replace([' ', ',', ':'], ""));
        std::fs::create_dir_all(&directory).unwrap();
        directory.join("test.pid")
    }
}

fn name(kind: FsType) -> String {
    let known = [
        (statfs::TMPFS_MAGIC, "tmpfs"),
        (statfs::EXT4_SUPER_MAGIC, "ext4"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlayfs"),
    ];
    known
        .iter()
        .find(|(magic, _)| *magic == kind)
        .map_or_else(|| format!("file system {:#x}", kind.0), |(_, name)| (*name).to_owned())
}
