//! The exit statuses, which are flock(1)'s and so those of sysexits.h.

use std::io;

use nix::errno::Errno;
use pidlockfile::Error;

pub const CONFLICT: u8 = 1;
pub const USAGE: u8 = 64;
pub const OS_ERROR: u8 = 71;

const WRONG_DATA: u8 = 65;
const CANNOT_OPEN: u8 = 66;
const CANNOT_RUN: u8 = 69;
const CANNOT_CREATE: u8 = 73;
const ENDED_BY_SIGNAL: u8 = 128;

/// Why there can be no lock at the path.
pub fn of_error(error: &Error) -> u8 {
    match error {
        Error::NotAPidFile { .. } => WRONG_DATA,
        Error::Io { source, .. } | Error::Unremovable { source, .. } => match errno(source) {
            // From flock(2): the file system has none.
            Errno::EOPNOTSUPP | Errno::ENOSYS => WRONG_DATA,
            Errno::ENOLCK | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE => OS_ERROR,
            Errno::EROFS | Errno::ENOSPC | Errno::EDQUOT => CANNOT_CREATE,
            _ => CANNOT_OPEN,
        },
        _ => CANNOT_OPEN,
    }
}

pub fn of_a_command_that_cannot_run(error: &io::Error) -> u8 {
    match errno(error) {
        // Most likely from fork(2). An error without a number says that the lock could not be handed over.
        Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::UnknownErrno => {
            OS_ERROR
        }
        _ => CANNOT_RUN,
    }
}

pub fn of_command(code: Option<i32>, signal: Option<i32>) -> u8 {
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.unwrap_or_else(|| signal.map_or(OS_ERROR, of_signal))
}

pub fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(OS_ERROR, |signal| ENDED_BY_SIGNAL.saturating_add(signal))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}
