//! A cycle and a refused attempt on demand, a batch a line, so that others.py can let other languages take turns.

use std::io;
use std::path::Path;

use crate::candidates::LOCKS;
use crate::floor;
use crate::rounds::Runner;

/// `cargo bench -- serve FREE BUSY` reads `cycle NAME COUNT` and `busy NAME COUNT`; answers with the
/// nanoseconds that one took.
///
/// A cycle is one on the path FREE, a refused attempt one on BUSY, which somebody else has locked.
pub fn serve(paths: &[String]) {
    let [free, busy] = paths else { panic!("serve FREE BUSY") };
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split('\t').collect();
        let [what, name, count] = words[..] else { panic!("{line}") };
        let count: u32 = count.parse().unwrap();
        let mut candidates = [floor::CYCLE, floor::LOOK].into_iter().chain(LOCKS);
        let candidate = candidates.find(|it| it.name == name).expect("a candidate's name");
        let (path, expected) = if what == "cycle" { (free, true) } else { (busy, false) };
        let attempt = (candidate.at)(Path::new(path));
        let mut runner =
            Runner::new(candidate.name, move || assert_eq!(attempt(&mut || {}), expected));
        let took = (runner.batch)(count);
        println!("{}", took.as_secs_f64() * 1e9 / f64::from(count));
    }
}
