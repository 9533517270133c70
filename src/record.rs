//! The content of a lock file, and the stamp that marks it as ours.

use std::fs::{File, FileTimes};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::FileStat;

/// No line with a pid is longer than this.
const READ_MAX_BYTES: usize = 64;

/// After a crash of the machine, a record can consist of this many blanks and NULs.
const BLANK_MAX_BYTES: usize = 4096;

/// A file this short is nobody's data.
const SHORT_MAX_BYTES: usize = 16;

/// What a lock file holds: `PID\n`, decimal and unpadded.
///
/// Go reads `0123` as octal, systemd reads only the first line, and `kill $(cat FILE)` uses all lines: this
/// form means the same to each.
struct Record {
    text: [u8; "4294967295\n".len()],
    len: usize,
}

impl Record {
    fn of(pid: u32) -> Record {
        let mut text = [0; _];
        let mut rest = &mut text[..];
        writeln!(rest, "{pid}").expect("the longest pid fits");
        let unused = rest.len();
        Record { len: text.len() - unused, text }
    }
}

/// Writes the record into an empty file, in one call.
pub(crate) fn write(file: &File, pid: u32) -> io::Result<()> {
    let record = Record::of(pid);
    file.write_all_at(&record.text[..record.len], 0)
}

/// Marks the file as one whose owner holds the kernel lock, in the nanoseconds of its modification time.
///
/// Any write by another program changes that time and so voids the stamp, whatever is written. The stamp
/// depends on the pid, too, in case a program writes between our record and our stamp. If the stamp cannot be
/// set, as on another user's file, or is not kept, the record counts as any other program's.
pub(crate) fn stamp(file: &File, pid: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamped = UNIX_EPOCH + Duration::new(now.as_secs(), stamp_nanoseconds(pid));
    let _ = file.set_times(FileTimes::new().set_modified(stamped));
}

pub(crate) fn is_stamped(stat: &FileStat, pid: u32) -> bool {
    u32::try_from(stat.st_mtime_nsec) == Ok(stamp_nanoseconds(pid))
}

/// A multiple of 100, the finest unit that some file systems keep, but not of 1000, because programs that set
/// times set microseconds. The prime is above every pid of Linux (2^22), so no two pids share a stamp.
fn stamp_nanoseconds(pid: u32) -> u32 {
    const PRIME: u64 = 8_999_993;
    let spread = (u64::from(pid) * 1_000_003 % PRIME) as u32;
    spread / 9 * 1000 + (spread % 9 + 1) * 100
}

/// The content of a file, or its beginning.
pub(crate) struct Content {
    bytes: [u8; READ_MAX_BYTES],
    len: usize,
}

impl Content {
    pub(crate) fn of(file: &File) -> io::Result<Content> {
        let mut bytes = [0; READ_MAX_BYTES];
        let len = read(file, &mut bytes)?;
        Ok(Content { bytes, len })
    }

    /// The recorded pid, if it is valid.
    pub(crate) fn pid(&self) -> Option<u32> {
        parse(self.first_line()?)
    }

    /// Whether the file can be a lock file, of any program.
    pub(crate) fn can_be_a_lock_files(&self, file: &File) -> io::Result<bool> {
        if self.len <= SHORT_MAX_BYTES || self.first_line().is_some_and(is_a_number) {
            return Ok(true);
        }
        let mut bytes = [0; BLANK_MAX_BYTES + 1];
        let len = read(file, &mut bytes)?;
        Ok(len <= BLANK_MAX_BYTES && bytes[..len].iter().copied().all(is_blank))
    }

    /// `None` if it is longer than any line with a pid can be.
    fn first_line(&self) -> Option<&[u8]> {
        let content = &self.bytes[..self.len];
        match content.iter().position(|&byte| byte == b'\n') {
            Some(end) => Some(&content[..end]),
            None => (self.len < READ_MAX_BYTES).then_some(content),
        }
    }
}

fn read(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Whether the line is a number, even if not a valid pid: `-1`, `00` and ` 99999999999 ` are.
fn is_a_number(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let digits = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn is_blank(byte: u8) -> bool {
    byte == 0 || byte.is_ascii_whitespace()
}

/// Reads the first line as FHS 3.0 (3.15, `/run`) asks: blanks around the pid, a missing newline and further
/// lines are accepted.
///
/// Other readers are stricter. systemd refuses a blank after the pid, some shells' `kill` refuses a `\r`, and
/// with further lines `kill $(cat FILE)` signals those pids, too. We accept the pid all the same: otherwise a
/// live owner that knows only pid files would lose its lock, whereas garbage that looks like a live pid only
/// makes others wait. But no other reader may see a different pid in the record than we do. So a number with a
/// leading zero (octal to Go and systemd, nothing to a shell), a sign, a NUL or a second word in the line is no
/// pid.
fn parse(line: &[u8]) -> Option<u32> {
    let digits = line.trim_ascii();
    if !digits.first()?.is_ascii_digit() || digits[0] == b'0' {
        return None;
    }
    let pid: i32 = str::from_utf8(digits).ok()?.parse().ok()?;
    u32::try_from(pid).ok()
}
