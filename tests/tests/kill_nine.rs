//! A short run of `kill-nine`, the script behind the README's durability claim; `.ci/nightly` runs
//! it with fifty kills and a gigabyte of state.
//!
//! Relies on the built `rama` binary. Durations are printed, never asserted.

use std::process::Command;

#[test]
fn killed_banks_lose_nothing_acknowledged() {
    let output = Command::new(env!("CARGO_BIN_EXE_kill-nine"))
        .args(["--kills", "8"])
        .output()
        .expect("kill-nine starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{printed}");
    assert!(
        output.status.success(),
        "{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
