//! A file without a name, which a crash leaves no trace of: `O_TMPFILE`, then linkat(2).

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::{create, link};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use portable::{create, link};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io::{self, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
    use nix::unistd::linkat;

    use crate::error::Error;
    use crate::publish::{create_options, directory_of};

    /// Creates the file in the directory of `path`; `None` where the file system cannot.
    pub(in crate::publish) fn create(path: &Path, mode: u32) -> Result<Option<File>, Error> {
        let created =
            create_options(mode).custom_flags(OFlag::O_TMPFILE.bits()).open(directory_of(path));
        match created {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_unsupported(&error) => Ok(None),
            Err(error) => Err(Error::io("create", path)(error)),
        }
    }

    /// open(2), `O_TMPFILE`: EOPNOTSUPP from the file system, EISDIR from a kernel that knows no such
    /// flag. FUSE file systems also say EINVAL and ENOSYS.
    fn is_unsupported(error: &io::Error) -> bool {
        [Errno::EOPNOTSUPP, Errno::EISDIR, Errno::EINVAL, Errno::ENOSYS]
            .iter()
            .any(|&errno| error.raw_os_error() == Some(errno as i32))
    }

    /// Gives the file its name, if that name is free.
    pub(in crate::publish) fn link(file: &File, path: &Path) -> io::Result<()> {
        match linkat(file, "", AT_FDCWD, path, AtFlags::AT_EMPTY_PATH) {
            Ok(()) => Ok(()),
            Err(Errno::EEXIST) => Err(Errno::EEXIST.into()),
            // Before Linux 6.10 this wants CAP_DAC_READ_SEARCH, and says ENOENT without it.
            Err(_) => link_by_descriptor(file, path),
        }
    }

    fn link_by_descriptor(file: &File, path: &Path) -> io::Result<()> {
        // On the stack: a cycle of lock and unlock allocates nothing.
        let mut buffer = [0; "/proc/self/fd/2147483647".len()];
        let mut rest = &mut buffer[..];
        write!(rest, "/proc/self/fd/{}", file.as_raw_fd())?;
        let unused = rest.len();
        let descriptor = OsStr::from_bytes(&buffer[..buffer.len() - unused]);
        // `std::fs::hard_link` would link the symlink in /proc itself.
        linkat(AT_FDCWD, descriptor, AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
        Ok(())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use crate::error::Error;

    #[expect(clippy::unnecessary_wraps, reason = "the signature of the Linux one")]
    pub(in crate::publish) fn create(_path: &Path, _mode: u32) -> Result<Option<File>, Error> {
        Ok(None)
    }

    pub(in crate::publish) fn link(_file: &File, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
