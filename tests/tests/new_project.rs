//! `rama new`: the project it makes builds against this checkout, and its test passes.
//!
//! Relies on the built `rama` binary and on what cargo has downloaded already: the project's build
//! is offline and shares the workspace's target directory and profile, so that only the project
//! itself and what it needs with other features are built.

use std::path::Path;
use std::process::Command;

use rama_tests::{binary, workspace};

/// As in the workspace's manifest: other profiles would build everything anew.
const PROFILE: [&str; 8] = [
    "--config",
    "profile.dev.opt-level=1",
    "--config",
    "profile.dev.debug='line-tables-only'",
    "--config",
    "profile.dev.package.'*'.opt-level=2",
    "--config",
    "profile.dev.package.'*'.debug=false",
];

#[test]
fn a_new_project_builds_and_its_test_passes() {
    let scratch = tempfile::tempdir().expect("a directory");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let target = target.expect("it is below the target directory");
    for template in ["counter", "bank"] {
        let made = Command::new(binary("rama"))
            .args(["new", template, "--template", template, "--rama"])
            .arg(workspace())
            .current_dir(scratch.path())
            .output()
            .expect("rama runs");
        assert!(made.status.success(), "{made:?}");
        let tested = Command::new(env!("CARGO"))
            .args(["test", "--offline", "--quiet"])
            .args(PROFILE)
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
