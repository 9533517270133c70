//! The words of the command line, which are flock(1)'s.

use std::env;
use std::error::Error as StdError;
use std::ffi::{OsStr, OsString};
use std::path;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser};
use pidlockfile::Lockfile;
use pidlockfile::retry::RetryPolicy;

use crate::exit;

const HELP: &str = include_str!("help.txt").trim_ascii_end();

pub enum Request {
    Print(&'static str),
    Run(Job),
}

pub struct Job {
    pub lockfile: Lockfile,
    pub command: Vec<OsString>,
    pub policy: RetryPolicy,
    pub conflict_status: u8,
    pub no_fork: bool,
    pub quiet: bool,
    pub verbose: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Close,
    Command,
    ConflictExitCode,
    Exclusive,
    Help,
    NoFork,
    Nonblock,
    PidToo,
    Quiet,
    Timeout,
    Verbose,
    Version,
    /// What cannot be had, and the way out.
    Refused(&'static str),
}

const SHARED: Word = Word::Refused(
    "a pid file has one owner, so there is no shared lock; without this option readers take turns",
);
const UNLOCK: Word =
    Word::Refused("the lock ends with its command; put into the command what needs the lock");
const DESCRIPTOR: &str = "a descriptor has no path to name its owner; give a path and a command, or use flock(1) elsewhere";
const RANGE: Word =
    Word::Refused("the lock is one of flock(2) on the whole file; leave this option out");

const SHORT: [(char, Word); 13] = [
    ('E', Word::ConflictExitCode),
    ('F', Word::NoFork),
    ('V', Word::Version),
    ('c', Word::Command),
    ('e', Word::Exclusive),
    ('h', Word::Help),
    ('n', Word::Nonblock),
    ('o', Word::Close),
    ('q', Word::Quiet),
    ('s', SHARED),
    ('u', UNLOCK),
    ('w', Word::Timeout),
    ('x', Word::Exclusive),
];

const LONG: [(&str, Word); 20] = [
    ("close", Word::Close),
    ("command", Word::Command),
    ("conflict-exit-code", Word::ConflictExitCode),
    ("exclusive", Word::Exclusive),
    ("fcntl", RANGE),
    ("fd", Word::Refused(DESCRIPTOR)),
    ("help", Word::Help),
    ("length", RANGE),
    ("nb", Word::Nonblock),
    ("no-fork", Word::NoFork),
    ("nonblocking", Word::Nonblock),
    ("pid-too", Word::PidToo),
    ("quiet", Word::Quiet),
    ("shared", SHARED),
    ("start", RANGE),
    ("timeout", Word::Timeout),
    ("unlock", UNLOCK),
    ("verbose", Word::Verbose),
    ("version", Word::Version),
    ("wait", Word::Timeout),
];

type Wrong = Box<dyn StdError>;

pub fn parse(mut arguments: Parser) -> Result<Request, Wrong> {
    let (mut nonblock, mut timeout, mut conflict_status) = (false, None, exit::CONFLICT);
    let (mut close, mut no_fork, mut pid_too) = (false, false, false);
    let (mut quiet, mut verbose) = (false, false);
    let path = loop {
        let (word, shown) = match arguments.next()? {
            None => return Err("there is no path".into()),
            Some(Arg::Value(path)) => break path,
            Some(Arg::Short(letter)) => (short(letter)?, format!("-{letter}")),
            Some(Arg::Long(name)) => (long(name)?, format!("--{name}")),
        };
        match word {
            Word::Close => close = true,
            Word::Command => return Err(format!("{shown} stands after the path").into()),
            Word::ConflictExitCode => {
                conflict_status = value(&mut arguments, &shown, "a number from 0 to 255", number)?;
            }
            Word::Exclusive => {}
            Word::Help => return Ok(Request::Print(HELP)),
            Word::NoFork => no_fork = true,
            Word::Nonblock => nonblock = true,
            Word::PidToo => pid_too = true,
            Word::Quiet => quiet = true,
            Word::Timeout => {
                timeout = Some(value(&mut arguments, &shown, "a number of seconds", seconds)?);
            }
            Word::Verbose => verbose = true,
            Word::Version => {
                return Ok(Request::Print(concat!("with_lock ", env!("CARGO_PKG_VERSION"))));
            }
            Word::Refused(way_out) => return Err(format!("{shown}: {way_out}").into()),
        }
    };
    if close && no_fork {
        return Err("-F and -o: with both, nothing would hold the lock".into());
    }
    let policy = match timeout {
        _ if nonblock => RetryPolicy::none(),
        Some(Duration::ZERO) => RetryPolicy::none(),
        Some(limit) => RetryPolicy::default().with_max_elapsed(limit),
        None => RetryPolicy::daemon(),
    };
    // All that follows belongs to the command, its options included.
    let command = command(&path, arguments.raw_args()?.collect())?;
    let lockfile = Lockfile::new(path::absolute(path)?)?;
    let lockfile = if pid_too { lockfile } else { lockfile.kernel_lock_only() };
    Ok(Request::Run(Job { lockfile, command, policy, conflict_status, no_fork, quiet, verbose }))
}

fn short(letter: char) -> Result<Word, Wrong> {
    let known = SHORT.iter().find(|(short, _)| *short == letter);
    known.map(|(_, word)| *word).ok_or_else(|| format!("there is no option -{letter}").into())
}

/// A name may be cut short, as `getopt_long` takes it, while it can mean one option only.
fn long(name: &str) -> Result<Word, Wrong> {
    if let Some((_, word)) = LONG.iter().find(|(long, _)| *long == name) {
        return Ok(*word);
    }
    let meant: Vec<_> = LONG.iter().filter(|(long, _)| long.starts_with(name)).collect();
    match meant[..] {
        [] => Err(format!("there is no option --{}", name.escape_debug()).into()),
        [(_, word), ref rest @ ..] if rest.iter().all(|(_, other)| other == word) => Ok(*word),
        _ => {
            let names: Vec<_> = meant.iter().map(|(long, _)| format!("--{long}")).collect();
            Err(format!("--{name} can mean {}", names.join(" or ")).into())
        }
    }
}

fn value<T>(
    arguments: &mut Parser,
    shown: &str,
    wanted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Wrong> {
    let value = arguments.value().map_err(|_| format!("{shown} needs {wanted}"))?;
    value.to_str().and_then(read).ok_or_else(|| {
        format!("{shown} needs {wanted}, not {}", value.to_string_lossy().escape_debug()).into()
    })
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(number(text)?).ok()
}

fn command(path: &OsStr, words: Vec<OsString>) -> Result<Vec<OsString>, Wrong> {
    let is_descriptor = || path.to_str().is_some_and(|path| path.parse::<u32>().is_ok());
    match &words[..] {
        [] if is_descriptor() => Err(format!("{}: {DESCRIPTOR}", path.display()).into()),
        [] => Err("there is no command".into()),
        [option, string] if is_command_option(option) => {
            let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty());
            Ok(vec![shell.unwrap_or_else(|| "/bin/sh".into()), "-c".into(), string.clone()])
        }
        [option, ..] if is_command_option(option) => {
            Err(format!("{} takes one string: put the command in quotes", option.display()).into())
        }
        _ => Ok(words),
    }
}

fn is_command_option(word: &OsStr) -> bool {
    word == "-c" || word == "--command"
}
