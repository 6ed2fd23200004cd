//! `rama certs`: an authority, certificates, and everything that is refused.

use std::os::unix::fs::PermissionsExt;

use crate::command::{directory, run_in};

const CLUSTER: &str = "6f1e4a0c-9a55-4a27-8f0e-3f1f6f0a7c11";
const NODE: &str = "0b9d6b3e-6c0f-4d0b-8f57-0f6a5f1c2d3e";

/// Dates, counts of days and fingerprints change from run to run.
fn steady(text: &str) -> String {
    let word = |word: &str| {
        let bytes = word.as_bytes();
        let date = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
        if date {
            "DATE".to_owned()
        } else if bytes.len() == 64 && bytes.iter().all(u8::is_ascii_hexdigit) {
            "FINGERPRINT".to_owned()
        } else {
            word.to_owned()
        }
    };
    let boundary = |char: char| !(char.is_ascii_alphanumeric() || char == '-');
    text.split_inclusive(boundary)
        .map(|part| {
            let end = part.trim_end_matches(boundary);
            format!("{}{}", word(end), &part[end.len()..])
        })
        .collect()
}

#[test]
fn an_authority_issues_certificates_that_can_be_shown_and_renewed() {
    let dir = directory();
    let issue = [
        "certs",
        "issue",
        "--dir",
        "ca",
        "--role",
        "supervisor",
        "--role",
        "worker",
    ];
    let to = [
        "--node", NODE, "--host", "10.0.1.7", "--host", "node7", "--out", "node7",
    ];
    let issue = [&issue[..], &to[..]].concat();
    let json = ["--output", "json"];
    let init = ["certs", "init", "--cluster", CLUSTER, "--dir"];
    let commands: [&[&str]; 7] = [
        &[&init[..], &["other"], &json].concat(),
        &[&init[..], &["ca"]].concat(),
        &issue,
        &issue,
        &[&issue[..], &["--replace", "--output", "json"]].concat(),
        &["certs", "show", "ca/ca.pem", "node7/supervisor.pem"],
        &["certs", "show", "node7/ca.pem", "--output", "json"],
    ];
    let seen = commands.map(|args| run_in(dir.path(), "http://x", args, ""));
    insta::assert_snapshot!(steady(&seen.join("\n")));
    for key in ["ca/ca.key", "node7/supervisor.key"] {
        let mode = std::fs::metadata(dir.path().join(key)).expect("a key");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{key}");
    }
}

#[test]
fn what_cannot_be_done_with_certificates_is_told_with_a_code() {
    let dir = directory();
    let run = |args: &[&str]| run_in(dir.path(), "http://x", args, "");
    run(&["certs", "init", "--dir", "ca", "--cluster", CLUSTER]);
    let at = [
        "certs", "issue", "--dir", "ca", "--node", NODE, "--out", "out", "--role",
    ];
    run(&[&at[..], &["worker"]].concat());
    std::fs::write(dir.path().join("text"), "no certificate").expect("written");
    let other = [
        "certs", "issue", "--dir", "ca", "--out", "out", "--role", "worker",
    ];
    let other = [&other[..], &["--replace", "--node", CLUSTER]].concat();
    let mut seen = vec![
        run(&["certs", "init", "--dir", "ca"]),
        run(&[
            "certs", "issue", "--dir", "nowhere", "--role", "worker", "--out", "x",
        ]),
        run(&[&at[..], &["king"]].concat()),
        run(&["certs", "issue", "--dir", "ca", "--out", "x"]),
        run(&[&at[..], &["client", "--days", "40000"]].concat()),
        run(&[&at[..], &["client", "--name", "../up"]].concat()),
        run(&other),
        run(&["certs", "show", "text"]),
        run(&["certs", "show", "nowhere.pem", "--output", "json"]),
    ];
    run(&["certs", "init", "--dir", "next", "--cluster", CLUSTER]);
    let next = [
        "certs", "issue", "--dir", "next", "--role", "worker", "--out", "out",
    ];
    seen.push(run(&[&next[..], &["--name", "next"]].concat()));
    let key = dir.path().join("ca/ca.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("changed");
    seen.push(run(&[&at[..], &["client"]].concat()));
    insta::assert_snapshot!(seen.join("\n"));
}
