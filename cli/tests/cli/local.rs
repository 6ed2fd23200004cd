//! Commands that need no server: help, settings, papers, projects, checks, the quickstart.

use std::process::Command;

use crate::command::{RAMA, directory, run, run_in, run_with, without_numbers};

/// Every path of subcommands that has help.
const VERBS: [&[&str]; 54] = [
    &[],
    &["quickstart"],
    &["dev"],
    &["dev-metastore"],
    &["new"],
    &["append"],
    &["select"],
    &["invoke"],
    &["watch"],
    &["status"],
    &["dead-letters"],
    &["dead-letters", "list"],
    &["dead-letters", "replay"],
    &["dead-letters", "drop"],
    &["conductor"],
    &["supervisor"],
    &["deploy"],
    &["destroy"],
    &["module-status"],
    &["module-instance-status"],
    &["task-groups-status"],
    &["modules"],
    &["supervisors"],
    &["operations"],
    &["pause-topology"],
    &["resume-topology"],
    &["set-option"],
    &["unset-option"],
    &["list-options"],
    &["module-log"],
    &["logs"],
    &["run"],
    &["conf-value"],
    &["upsert-license"],
    &["cleanup-licenses"],
    &["license-info"],
    &["doctor"],
    &["inspect"],
    &["config"],
    &["config", "show"],
    &["config", "check"],
    &["certs"],
    &["certs", "init"],
    &["certs", "issue"],
    &["certs", "show"],
    &["tokens"],
    &["tokens", "create"],
    &["tokens", "list"],
    &["tokens", "revoke"],
    &["artifacts"],
    &["artifacts", "keygen"],
    &["artifacts", "sign"],
    &["completions"],
    &["man"],
];

#[test]
fn help_is_as_documented_and_ends_with_examples() {
    let mut all = String::new();
    for verb in VERBS {
        let help = run("http://x", &[verb, &["--help"]].concat(), "");
        assert!(help.contains("Examples:\n  "), "no examples in {help}");
        let codes = help.find("\nExit codes:\n").expect("exit codes");
        assert!(codes > help.find("Examples:\n").unwrap_or(codes), "{help}");
        all.push_str(&help);
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}

#[test]
fn quickstart_counts_a_text_and_says_what_to_type_next() {
    let dir = directory();
    std::fs::write(dir.path().join("text.txt"), "To be, or not\nto be.\n").expect("written");
    std::fs::write(dir.path().join("latin1.txt"), b"caf\xe9\n").expect("written");
    let file: [&str; 3] = ["quickstart", "--file", "text.txt"];
    let commands: [&[&str]; 5] = [
        &[&file[..], &["--top", "3"]].concat(),
        &[
            &file[..],
            &["--data-dir", "data", "--counts", "counts.json"],
        ]
        .concat(),
        &[&file[..], &["--output", "json"]].concat(),
        &["quickstart", "--file", "nothing.txt"],
        &["quickstart", "--file", "latin1.txt"],
    ];
    let seen = commands.map(|args| run_in(dir.path(), "http://x", args, ""));
    let seen = seen.join("\n");
    // How often progress is shown depends on how fast the machine is.
    let progress = |line: &&str| line.starts_with("append: ") || line.starts_with("count: ");
    let lines = seen.lines().filter(|line| !progress(line));
    let mut seen = lines.collect::<Vec<_>>().join("\n");
    for (before, word) in [
        ("http://127.0.0.1:", "PORT"),
        ("exactly once in ", "SECONDS"),
        ("SECONDS s: ", "RATE"),
        ("\"seconds\": ", "SECONDS"),
        ("\"words_per_second\": ", "RATE"),
    ] {
        seen = without_numbers(&seen, before, word);
    }
    let counts = std::fs::read_to_string(dir.path().join("counts.json")).expect("it was written");
    insta::assert_snapshot!(format!("{seen}\ncounts.json: {counts}"));
}

#[test]
fn doctor_names_each_check_and_fails_with_the_remedy() {
    let seen = run("http://x", &["doctor", "--output", "json"], "");
    let json = seen
        .split_once('\n')
        .and_then(|(_, rest)| rest.split_once("--- stderr"));
    let checks: Vec<serde_json::Value> =
        serde_json::from_str(json.expect("a transcript").0).expect("JSON");
    // What is found differs from machine to machine; what is looked at does not.
    let names = checks.iter().map(|check| {
        let members: Vec<&String> = check.as_object().expect("an object").keys().collect();
        format!("{} {members:?}", check["check"])
    });
    let names = names.collect::<Vec<_>>().join("\n");
    let table = run("http://x", &["doctor"], "");
    for check in &checks {
        let name = check["check"].as_str().expect("a name");
        assert!(
            table.contains(&format!(" {name} ")),
            "{name} is not in\n{table}"
        );
    }
    let bad = run(
        "http://x",
        &["doctor", "--dir", "/proc/nothing", "--output", "json"],
        "",
    );
    assert!(
        bad.ends_with("--- exit 1\n") && bad.contains("\"hint\""),
        "{bad}"
    );
    insta::assert_snapshot!(names);
}

#[test]
fn settings_are_shown_with_their_origin_and_files_are_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let good = dir.path().join("good.toml");
    std::fs::write(&good, "[http]\nport = 9000\n").expect("written");
    let bad = dir.path().join("bad.toml");
    std::fs::write(&bad, "[http]\nprot = 9000\n").expect("written");
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let seen = [
        run("http://x", &["config", "show", "--config", &good], ""),
        run(
            "http://x",
            &["config", "check", &good, "--output", "json"],
            "",
        ),
        run("http://x", &["config", "check", &bad], ""),
    ];
    insta::assert_snapshot!(
        seen.join("\n")
            .replace(&dir.path().display().to_string(), "DIR")
    );
}

#[test]
fn one_setting_is_printed_with_its_origin() {
    let dir = directory();
    let file = "[conductor]\nhost = \"c1\"\n[security]\nca = \"certs/ca.pem\"\n";
    std::fs::write(dir.path().join("rama.toml"), file).expect("written");
    std::fs::create_dir(dir.path().join("below")).expect("made");
    let below = dir.path().join("below");
    let root = dir.path().display().to_string();
    let run = |environment: &[(&str, &str)], args: &[&str]| {
        run_with(&below, environment, args, "").replace(&root, "ROOT")
    };
    let seen = [
        run(&[], &["conf-value", "conductor.host"]),
        run(&[], &["confValue", "conductor.host", "--origin"]),
        run(&[], &["confValue", "security.ca", "--origin"]),
        run(
            &[],
            &[
                "confValue",
                "conductor.port",
                "--origin",
                "--output",
                "json",
            ],
        ),
        run(
            &[("RAMA_CONDUCTOR__PORT", "7")],
            &["confValue", "conductor.port", "--origin"],
        ),
        run(
            &[("RAMA_CONFIG", "nowhere.toml")],
            &["confValue", "conductor.port"],
        ),
        run(&[], &["confValue", "conductor.prt"]),
        run(&[], &["status", "--timeout", "5s"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn a_program_is_run_with_the_settings_found() {
    let dir = directory();
    std::fs::write(dir.path().join("rama.toml"), "[http]\nport = 1\n").expect("written");
    std::fs::write(dir.path().join("bad.toml"), "[http]\nprot = 1\n").expect("written");
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/client");
    let run = |args: &[&str]| run_with(dir.path(), &[], args, "").replace(client, "CLIENT");
    let seen = [
        run(&["run", client, "first", "--output", "-x"]),
        run(&["run", "--config", "rama.toml", client, "first", "word"]),
        run(&["run", "--config", "bad.toml", client]),
        run(&["run", "nothing"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn no_licence_is_needed() {
    let seen = [
        run("http://x", &["licenseInfo"], ""),
        run("http://x", &["cleanupLicenses", "--output", "json"], ""),
        run(
            "http://x",
            &["upsertLicense", "--licensePath", "license.edn"],
            "",
        ),
        run("http://x", &["upsert-license", "--path", "x"], ""),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn completions_and_manual_pages_are_written() {
    for shell in ["bash", "zsh", "fish"] {
        let seen = run("http://x", &["completions", shell], "");
        assert!(
            seen.contains("quickstart") && seen.ends_with("--- exit 0\n"),
            "{shell}"
        );
    }
    let seen = run("http://x", &["man"], "");
    assert!(seen.contains(".TH rama 1"), "{seen}");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pages").display().to_string();
    assert!(run("http://x", &["man", &path], "").ends_with("--- exit 0\n"));
    assert!(dir.path().join("pages/rama-append.1").exists());
}

#[test]
fn a_new_project_never_touches_what_exists() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("taken")).expect("created");
    let run = |args: &[&str]| {
        let command = Command::new(RAMA)
            .args(args)
            .current_dir(dir.path())
            .output()
            .expect("it runs");
        (
            command.status.code(),
            String::from_utf8_lossy(&command.stderr).into_owned(),
        )
    };
    let (code, error) = run(&["new", "taken"]);
    assert_eq!(code, Some(4), "{error}");
    assert_eq!(run(&["new", "../up"]).0, Some(2));
    let (code, error) = run(&["new", "x", "--rama", "/nonexistent"]);
    assert!(code == Some(3) && error.contains("--rama DIR"), "{error}");
    assert_eq!(run(&["new", "fresh", "--template", "bank"]).0, Some(0));
    let manifest = std::fs::read_to_string(dir.path().join("fresh/Cargo.toml")).expect("written");
    assert!(
        manifest.contains("name = \"fresh\"") && !manifest.contains("{{"),
        "{manifest}"
    );
}

#[test]
fn inspect_lists_what_a_directory_holds_and_names_damage() {
    let dir = directory();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../storage/golden/group_v1");
    copy(golden.as_ref(), &dir.path().join("data"));
    let inspect =
        |args: &[&str]| run_in(dir.path(), "http://x", &[&["inspect"], args].concat(), "");
    let mut seen = inspect(&["data"]);
    seen.push_str(&inspect(&["data", "--output", "json"]));
    let segment = dir.path().join("data/log/0000000000000001.segment");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[700] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    seen.push_str(&inspect(&["data"]));
    seen.push_str(&inspect(&["nothing"]));
    insta::assert_snapshot!(seen);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("copied")),
        }
    }
}
