//! JSON for the scripts that make the table and the plot.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Writes `target/pidlockfile-benches/NAME.json`.
pub fn save(name: &str, value: &Value) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("pidlockfile-benches");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(name.replace([' ', ','], "-")).with_extension("json");
    fs::write(file, format!("{value:#}\n")).unwrap();
}
