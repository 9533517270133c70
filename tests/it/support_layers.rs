//! The support imports no test, and no test imports another.

use std::fs;
use std::path::{Path, PathBuf};

fn sources_in(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let sources = paths.flat_map(|path| if path.is_dir() { sources_in(&path) } else { vec![path] });
    sources.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

/// The modules at the crate's root that a file of this one names.
fn modules_named_in(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    // Names inside a string do not count.
    let text = text.replace("\"crate::", "");
    let rest_of_paths = text.split("crate::").skip(1);
    let name = |rest: &str| {
        rest.split(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap().to_owned()
    };
    rest_of_paths.map(name).collect()
}

#[test]
fn a_file_names_the_support_and_its_own_module_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let (mut files_of_support, mut named) = (0, 0);
    for file in sources_in(&root) {
        let below = file.strip_prefix(&root).unwrap();
        let module = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        files_of_support += usize::from(module == "support");
        for name in modules_named_in(&file) {
            named += 1;
            assert!(name == "support" || name == module, "{} names {name}", below.display());
        }
    }
    assert!(files_of_support > 10 && named > 100, "{files_of_support} {named}");
}
