//! `rama new`: the project it makes builds against this checkout, and its test passes.
//!
//! Relies on the built `rama` binary and on what cargo has downloaded already: the project's build
//! is offline and shares the workspace's target directory and profile, so that only the project
//! itself and what it needs with other features are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use rama_tests::{binary, workspace};

/// With fewer features than in the workspace these are built for the project alone: without haste.
const ITS_OWN: [&str; 10] = [
    "rama",
    "rama-api",
    "rama-core",
    "rama-gateway",
    "rama-io",
    "rama-net",
    "rama-rpc",
    "rama-runtime",
    "rama-storage",
    "rama-wire",
];

/// The profiles of the workspace, as a configuration of cargo: others would build everything anew.
fn profiles(at: &Path) -> PathBuf {
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml"));
    let manifest = manifest.expect("the workspace has a manifest");
    let begin = manifest.find("[profile.").expect("it has profiles");
    let mut profiles = manifest[begin..].to_owned();
    for name in ITS_OWN {
        profiles += &format!("[profile.dev.package.{name}]\nopt-level = 0\n");
    }
    let path = at.join("profiles.toml");
    std::fs::write(&path, profiles).expect("the directory takes a file");
    path
}

#[test]
fn a_new_project_builds_and_its_test_passes() {
    let scratch = tempfile::tempdir().expect("a directory");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let target = target.expect("it is below the target directory");
    let profiles = profiles(scratch.path());
    for template in ["counter", "bank"] {
        let made = Command::new(binary("rama"))
            .args(["new", template, "--template", template, "--rama"])
            .arg(workspace())
            .current_dir(scratch.path())
            .output()
            .expect("rama runs");
        assert!(made.status.success(), "{made:?}");
        let tested = Command::new(env!("CARGO"))
            .args(["test", "--offline", "--quiet", "--config"])
            .arg(&profiles)
            .current_dir(scratch.path().join(template))
            .env("CARGO_TARGET_DIR", target)
            .output()
            .expect("cargo runs");
        let printed = String::from_utf8_lossy(&tested.stdout);
        let errors = String::from_utf8_lossy(&tested.stderr);
        assert!(tested.status.success(), "{printed}\n{errors}");
        assert!(printed.contains("1 passed"), "{printed}");
    }
}
