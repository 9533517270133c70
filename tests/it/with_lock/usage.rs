//! Its words, which are flock(1)'s.

use std::io;
use std::process::Command;

use super::{answer, example_of_now, output, with_lock};
use crate::support::peer::Peer;
use crate::support::sandbox::Sandbox;

/// Runs `with_lock WORDS`, and returns its complaint.
fn wrong_usage(words: &[&str]) -> String {
    let (code, out, complaint) = answer(example_of_now().args(words).output().unwrap());
    assert_eq!((code, out.as_str()), (Some(64), ""), "{words:?}: {complaint}");
    let [wrong, "Try 'with_lock --help'."] = complaint.lines().collect::<Vec<_>>()[..] else {
        panic!("{words:?}: {complaint}");
    };
    wrong.strip_prefix("with_lock: ").unwrap().to_owned()
}

#[test]
fn wrong_usage_is_two_lines_and_names_what_is_wrong() {
    for (words, wrong) in [
        (&[][..], "there is no path"),
        (&["/x"], "there is no command"),
        (&["-w", "abc", "/x", "true"], "-w needs a number of seconds, not abc"),
        (&["-w-1", "/x", "true"], "-w needs a number of seconds, not -1"),
        (&["-w", "nan", "/x", "true"], "-w needs a number of seconds, not nan"),
        (&["-w", "1\n2", "/x", "true"], "-w needs a number of seconds, not 1\\n2"),
        (&["--timeout=", "/x", "true"], "--timeout needs a number of seconds, not "),
        (&["--wait"], "--wait needs a number of seconds"),
        (&["-E", "256", "/x", "true"], "-E needs a number from 0 to 255, not 256"),
        (
            &["--conflict-exit-code", "x", "/x", "true"],
            "--conflict-exit-code needs a number from 0 to 255, not x",
        ),
        (&["-z", "/x", "true"], "there is no option -z"),
        (&["--nonsense", "/x", "true"], "there is no option --nonsense"),
        (&["--no", "/x", "true"], "--no can mean --no-fork or --nonblocking"),
        (&["-c", "true", "/x"], "-c stands after the path"),
        (&["/x", "-c"], "-c takes one string: put the command in quotes"),
        (&["/x", "--command", "a", "b"], "--command takes one string: put the command in quotes"),
        (&["-F", "-o", "/x", "true"], "-F and -o: with both, nothing would hold the lock"),
    ] {
        assert_eq!(wrong_usage(words), wrong, "{words:?}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_with_the_way_out() {
    for (words, begin, way_out) in [
        (&["-s", "/x", "true"][..], "-s: ", "readers take turns"),
        (&["--shared", "/x", "true"], "--shared: ", "readers take turns"),
        (&["-u", "/x", "true"], "-u: ", "put into the command what needs the lock"),
        (&["--unlock", "9"], "--unlock: ", "put into the command what needs the lock"),
        (&["-n", "9"], "9: ", "give a path and a command, or use flock(1) elsewhere"),
        (&["--fd", "9", "true"], "--fd: ", "give a path and a command, or use flock(1) elsewhere"),
        (&["--fcntl", "/x", "true"], "--fcntl: ", "leave this option out"),
        (&["--start", "1", "/x", "true"], "--start: ", "leave this option out"),
        (&["--length=1", "/x", "true"], "--length: ", "leave this option out"),
    ] {
        let wrong = wrong_usage(words);
        assert!(wrong.starts_with(begin) && wrong.ends_with(way_out), "{words:?}: {wrong}");
    }
}

#[test]
fn it_takes_the_words_of_flock() {
    for options in [
        &["-x"][..],
        &["-e"],
        &["--exclusive"],
        &["-o"],
        &["--close"],
        &["-F"],
        &["--no-fork"],
        &["-n"],
        &["--nb"],
        &["--nonblock"],
        &["--nonblocking"],
        &["-w", "5"],
        &["-w0.5"],
        &["--wait", "5"],
        &["--timeout=5"],
        &["-E", "0"],
        &["--conflict-exit-code", "255"],
        &["--excl", "--time", "5", "--conf=9"],
        &["-xnE9"],
        &["--"],
    ] {
        let answer = output(options, &Sandbox::new(), &["echo", "hello"]);
        assert_eq!(answer, (Some(0), "hello\n".into(), String::new()), "{options:?}");
    }
}

#[test]
fn each_word_for_the_conflict_status_sets_it() {
    let sandbox = Sandbox::new();
    let _owner = Peer::holding(&sandbox.path());
    for options in
        [&["-n", "-E", "99"][..], &["--nonblock", "--conflict-exit-code", "99"], &["-nE99"]]
    {
        assert_eq!(output(options, &sandbox, &["true"]).0, Some(99), "{options:?}");
    }
    assert_eq!(output(&["-n"], &sandbox, &["true"]).0, Some(1));
}

#[test]
fn a_string_is_run_by_the_users_shell_or_by_sh() {
    let run = |option, string, set_shell: fn(&mut Command) -> &mut Command| {
        let sandbox = Sandbox::new();
        let (code, out, _) =
            answer(set_shell(&mut with_lock(&[], &sandbox, &[option, string])).output().unwrap());
        sandbox.assert_free_and_clean();
        (code, out)
    };
    for option in ["-c", "--command"] {
        let by_sh = (Some(7), "/bin/sh\n".to_owned());
        assert_eq!(run(option, "echo $0; exit 7", |command| command.env_remove("SHELL")), by_sh);
        assert_eq!(run(option, "echo $0; exit 7", |command| command.env("SHELL", "")), by_sh);
        assert_eq!(
            run(option, "one  $two", |command| command.env("SHELL", "/bin/echo")),
            (Some(0), "-c one  $two\n".to_owned())
        );
    }
}

#[test]
fn the_options_of_the_command_are_its_own() {
    let (code, out, _) = output(&[], &Sandbox::new(), &["echo", "-w", "-c", "--help"]);
    assert_eq!((code, out.as_str()), (Some(0), "-w -c --help\n"));
}

#[test]
fn help_and_version_are_printed_even_if_nobody_listens() {
    for (words, begin) in [
        (["-h"], "usage: with_lock [OPTION…] PATH COMMAND"),
        (["--help"], "usage: with_lock [OPTION…] PATH COMMAND"),
        (["-V"], concat!("with_lock ", env!("CARGO_PKG_VERSION"))),
        (["--version"], concat!("with_lock ", env!("CARGO_PKG_VERSION"))),
    ] {
        let mut command = example_of_now();
        command.args(words);
        let (code, out, complaint) = answer(command.output().unwrap());
        assert_eq!((code, complaint.as_str()), (Some(0), ""));
        assert!(out.starts_with(begin), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 80), "too wide for a terminal");

        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let (code, _, complaint) = answer(command.stdout(writer).output().unwrap());
        assert_eq!((code, complaint.as_str()), (Some(0), ""));
    }
}
