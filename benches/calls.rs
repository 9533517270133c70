//! System calls as they are: no wrapper, no check but an assertion, paths ready as C strings.

use std::ffi::{CStr, CString, c_int};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use libc::{
    AT_EMPTY_PATH, AT_FDCWD, LOCK_EX, LOCK_NB, O_CLOEXEC, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK,
    O_RDONLY, O_RDWR, O_TMPFILE,
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
        // tmpfs and the like have no disk: only statfs(2) tells them from FUSE.
        if libc::major(fstat(file).st_dev) == 0 {
            fstatfs(file);
        }
        write_pid(file);
        stamp(file);
        // SAFETY: both paths are C strings.
        let linked = unsafe {
            libc::linkat(file, c"".as_ptr(), AT_FDCWD, self.path.as_ptr(), AT_EMPTY_PATH)
        };
        assert_eq!(linked, 0, "linkat by AT_EMPTY_PATH, which these calls need");
        file
    }

    pub fn release(&self, file: c_int) {
        getpid();
        fstat(file);
        lstat(&self.path);
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
    let len = unsafe { libc::pwrite(file, record.as_ptr().cast(), record.len(), 0) };
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
        statx(file);
        libc::lseek(file, 0, libc::SEEK_CUR);
        assert!(libc::read(file, status.as_mut_ptr().cast(), status.len()) > 0);
        assert_eq!(libc::read(file, status.as_mut_ptr().cast(), status.len()), 0);
        close(file);
    }
}

fn statx(file: c_int) {
    let mut metadata = MaybeUninit::<libc::statx>::uninit();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: the path is a C string, and the buffer a statx.
    let result =
        unsafe { libc::statx(file, c"".as_ptr(), AT_EMPTY_PATH, mask, metadata.as_mut_ptr()) };
    assert_eq!(result, 0);
}

pub fn fstat(file: c_int) -> libc::stat {
    let mut metadata = MaybeUninit::uninit();
    // SAFETY: the buffer is a stat, which a call that went well has filled.
    unsafe {
        assert_eq!(libc::fstat(file, metadata.as_mut_ptr()), 0);
        metadata.assume_init()
    }
}

pub fn lstat(path: &CStr) {
    let mut metadata = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is a C string, and the buffer a stat.
    assert_eq!(unsafe { libc::lstat(path.as_ptr(), metadata.as_mut_ptr()) }, 0);
}

pub fn fstatfs(file: c_int) {
    let mut file_system = MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: the buffer is a statfs.
    assert_eq!(unsafe { libc::fstatfs64(file, file_system.as_mut_ptr()) }, 0);
}

/// Sets the modification time, as a stamp does, and leaves the other.
fn stamp(file: c_int) {
    let omitted = libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT };
    let mut now = omitted;
    // SAFETY: the buffers are what the calls take.
    unsafe {
        assert_eq!(libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now), 0);
        assert_eq!(libc::futimens(file, [omitted, now].as_ptr()), 0);
    }
}

pub fn unlink(path: &CStr) {
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::unlink(path.as_ptr()) }, 0);
}

pub fn close(file: c_int) {
    // SAFETY: the descriptor is ours, and not used again.
    assert_eq!(unsafe { libc::close(file) }, 0);
}
