//! Commands that are shown nowhere else in one of the forms: as a table, as JSON, as an error.
//!
//! Relies on the transcripts of other tests for the rest; a test of the command line counts them.

use crate::command::{directory, run, run_with};

#[test]
fn licences_are_shown_in_each_form() {
    let seen = [
        run("http://x", &["license-info", "--output", "json"], ""),
        run("http://x", &["cleanup-licenses"], ""),
        run("http://x", &["upsertLicense", "--output", "json"], ""),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn settings_are_shown_and_checked_in_each_form() {
    let dir = directory();
    std::fs::write(dir.path().join("good.toml"), "[http]\nport = 9000\n").expect("written");
    std::fs::write(dir.path().join("bad.toml"), "[worker.resources]\ncpu = 1\n").expect("written");
    let config = |args: &[&str]| run_with(dir.path(), &[], &[&["config"], args].concat(), "");
    let all = config(&["show", "--config", "good.toml", "--output", "jsonl"]);
    // The defaults are shown elsewhere.
    let set = all.lines().filter(|line| !line.contains("\"default\""));
    let seen = [
        config(&["check", "good.toml"]),
        config(&["show", "--config", "bad.toml"]),
        set.collect::<Vec<_>>().join("\n"),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn a_new_project_is_told_of_in_each_form() {
    let dir = directory();
    let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let checkout = std::fs::canonicalize(checkout).expect("a checkout");
    let checkout = checkout.display().to_string();
    let new = |args: &[&str]| {
        let args = [&["new"], args, &["--rama", &checkout]].concat();
        run_with(dir.path(), &[], &args, "").replace(&checkout, "CHECKOUT")
    };
    let seen = [
        new(&["clicks"]),
        new(&["shop", "--template", "bank", "--output", "json"]),
        new(&["clicks"]),
        new(&["1st"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
    let manifest = std::fs::read_to_string(dir.path().join("clicks/Cargo.toml"));
    let manifest: toml::Table = manifest.expect("a manifest").parse().expect("TOML");
    // Without it the program could not be deployed.
    assert_eq!(manifest["features"]["etcd"][0].as_str(), Some("rama/etcd"));
}

#[test]
fn papers_and_machines_that_cannot_be_say_why() {
    let dir = directory();
    std::fs::write(dir.path().join("file"), "").expect("written");
    let seen = [
        run_with(dir.path(), &[], &["completions", "csh"], ""),
        run_with(dir.path(), &[], &["man", "file/below"], ""),
        run_with(dir.path(), &[], &["dev-metastore", "--port", "many"], ""),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

/// A command that was built for authors runs no daemons, and says how to get one that does.
#[cfg(not(feature = "etcd"))]
#[test]
fn daemons_need_a_command_that_can_speak_to_etcd() {
    let dir = directory();
    let seen = ["conductor", "supervisor"].map(|daemon| run_with(dir.path(), &[], &[daemon], ""));
    insta::assert_snapshot!(seen.join("\n"));
}
