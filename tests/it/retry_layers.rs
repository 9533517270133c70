//! Which files of `src/retry` each of them may import.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Each file's imports from the module, by file name.
fn imports() -> BTreeMap<String, Vec<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/retry");
    let files = fs::read_dir(src).unwrap().map(|it| it.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let read = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        assert!(!code.contains("super::{"), "{} imports through its parent", path.display());
        let after_prefix = code.split("crate::retry::").skip(1);
        let name = |rest: &str| {
            rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect::<String>()
        };
        after_prefix.map(name).collect()
    };
    files.iter().map(|path| (name(path), read(path))).collect()
}

/// The files in the order in which data flows, as the module declares them.
fn order() -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/retry.rs");
    let text = fs::read_to_string(src).unwrap();
    let modules = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

#[test]
fn no_file_imports_one_above_it_or_through_its_parent() {
    let order = order();
    let place = |name: &str| order.iter().position(|it| it == name);
    let imports = imports();
    assert!(imports.len() > 10 && imports.values().flatten().count() > 20, "{imports:?}");
    for (file, imported) in imports {
        let from = place(&file).unwrap_or_else(|| panic!("{file} is not declared"));
        for name in imported {
            let to = place(&name).unwrap_or_else(|| panic!("{file} imports {name:?}"));
            assert!(to > from, "{file} imports {name}");
        }
    }
}

#[test]
fn there_are_at_most_sixteen_files() {
    assert!(imports().len() <= 16);
}
