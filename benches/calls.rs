//! System calls as they are: no wrapper, no check but an assertion, paths ready as C strings.

#![allow(dead_code, reason = "each bench has its own calls")]

use std::ffi::{CStr, CString, c_int};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use libc::{
    AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, LOCK_EX, LOCK_NB, O_CLOEXEC, O_NOCTTY,
    O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_TMPFILE,
};

pub struct Names {
    pub path: CString,
    directory: CString,
}

impl Names {
    pub fn of(path: &Path) -> Names {
        let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
        Names { path: c_string(path), directory: c_string(path.parent().unwrap()) }
    }

    pub fn open(&self) -> c_int {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
        // SAFETY: the path is a C string.
        unsafe { libc::open(self.path.as_ptr(), flags) }
    }

    pub fn publish(&self) -> c_int {
        // SAFETY: the path is a C string.
        let file =
            unsafe { libc::open(self.directory.as_ptr(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0o600) };
        flock(file, LOCK_EX | LOCK_NB);
        write_pid(file);
        statx(file, c"", AT_EMPTY_PATH);
        // SAFETY: both paths are C strings.
        let linked = unsafe {
            libc::linkat(file, c"".as_ptr(), AT_FDCWD, self.path.as_ptr(), AT_EMPTY_PATH)
        };
        assert_eq!(linked, 0, "linkat by AT_EMPTY_PATH, which these calls need");
        file
    }

    pub fn release(&self, file: c_int) {
        getpid();
        read(file);
        statx(AT_FDCWD, &self.path, AT_SYMLINK_NOFOLLOW);
        unlink(&self.path);
        close(file);
    }
}

pub fn flock(file: c_int, operation: c_int) -> bool {
    // SAFETY: flock takes numbers only.
    unsafe { libc::flock(file, operation) == 0 }
}

pub fn getpid() -> c_int {
    // SAFETY: getpid has no preconditions.
    unsafe { libc::getpid() }
}

pub fn write_pid(file: c_int) {
    getpid();
    let record = b"1234567\n";
    // SAFETY: the buffer is as long as it is said to be.
    let len = unsafe { libc::write(file, record.as_ptr().cast(), record.len()) };
    assert_eq!(len, 8);
}

/// The record, read as barely as can be: digits up to the end of the line.
pub fn read(file: c_int) -> i32 {
    let mut record = [0_u8; 64];
    // SAFETY: the buffer is as long as it is said to be.
    let len = unsafe { libc::pread(file, record.as_mut_ptr().cast(), record.len(), 0) };
    assert!(len > 0);
    let digits = record.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |pid, digit| pid * 10 + i32::from(digit - b'0'))
}

pub fn is_running(pid: i32) -> bool {
    // SAFETY: kill takes numbers only, and signal 0 does nothing.
    unsafe { libc::kill(pid, 0) == 0 }
}

/// With the two calls by which std learns how long a file is.
pub fn read_status(pid: i32) {
    let path = CString::new(format!("/proc/{pid}/status")).unwrap();
    let mut status = [0_u8; 4096];
    // SAFETY: the path is a C string, and the buffer as long as it is said to be.
    unsafe {
        let file = libc::open(path.as_ptr(), O_RDONLY | O_CLOEXEC);
        statx(file, c"", AT_EMPTY_PATH);
        libc::lseek(file, 0, libc::SEEK_CUR);
        assert!(libc::read(file, status.as_mut_ptr().cast(), status.len()) > 0);
        assert_eq!(libc::read(file, status.as_mut_ptr().cast(), status.len()), 0);
        close(file);
    }
}

pub fn statx(directory: c_int, path: &CStr, flags: c_int) {
    let mut metadata = MaybeUninit::<libc::statx>::uninit();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: the path is a C string, and the buffer a statx.
    let result =
        unsafe { libc::statx(directory, path.as_ptr(), flags, mask, metadata.as_mut_ptr()) };
    assert_eq!(result, 0);
}

pub fn unlink(path: &CStr) {
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::unlink(path.as_ptr()) }, 0);
}

pub fn close(file: c_int) {
    // SAFETY: the descriptor is ours, and not used again.
    assert_eq!(unsafe { libc::close(file) }, 0);
}
