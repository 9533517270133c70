//! The examples as processes.

use std::env;
use std::path::Path;
use std::process::Command;

/// The example as `cargo test` builds it. `cargo test --test it` does not build it, so it is built here.
pub fn command(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let executable = profile.join("examples").join(name);
    if !executable.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--all-features", "--example", name, "--target-dir"]);
        build.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    }
    Command::new(executable)
}
