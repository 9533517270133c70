//! The same on demand, a batch a line, so that a script can let other programs take turns with it.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::candidates::LOCKS;
use crate::floor;
use crate::rounds::Runner;

pub fn is_wanted() -> bool {
    env::args().any(|word| word == "serve")
}

/// Reads `cycle NAME COUNT` and `busy NAME COUNT`; answers with the nanoseconds that one took.
///
/// A cycle is one on the path FREE, a refused attempt one on BUSY, which somebody else has locked.
pub fn serve() {
    let mut paths = env::args_os().skip_while(|word| word != "serve").skip(1).map(PathBuf::from);
    let free = paths.next().expect("serve FREE BUSY");
    let busy = paths.next().expect("serve FREE BUSY");
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let mut words = line.split('\t');
        let (what, name) = (words.next().unwrap(), words.next().unwrap());
        let count: u32 = words.next().unwrap().parse().unwrap();
        let candidate = [floor::CYCLE, floor::LOOK]
            .into_iter()
            .chain(LOCKS)
            .find(|candidate| candidate.name == name)
            .expect("a candidate's name");
        let (path, expected) = if what == "cycle" { (&free, true) } else { (&busy, false) };
        let attempt = (candidate.at)(path);
        let mut runner =
            Runner::new(candidate.name, move || assert_eq!(attempt(&mut || {}), expected));
        let took = (runner.batch)(count);
        println!("{}", took.as_secs_f64() * 1e9 / f64::from(count));
        io::stdout().flush().unwrap();
    }
}
