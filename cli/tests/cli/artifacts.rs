//! `rama artifacts`: keys, signatures, and what is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::command::{directory, run_in};

/// Keys and signatures change from run to run.
fn steady(text: &str) -> String {
    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let boundary = |char: char| !char.is_ascii_alphanumeric();
    let word = |part: &str| {
        let end = part.trim_end_matches(boundary);
        let shown = match end.len() {
            64 if digits(end) => "64-DIGITS",
            128 if digits(end) => "128-DIGITS",
            _ => end,
        };
        format!("{shown}{}", &part[end.len()..])
    };
    text.split_inclusive(boundary).map(word).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

#[test]
fn programs_are_signed_with_a_key_of_their_own() {
    let dir = directory();
    fs::write(dir.path().join("program"), "#!/bin/sh\n").expect("written");
    fs::write(dir.path().join("open.key"), "no key").expect("written");
    fs::write(dir.path().join("no.key"), "no key").expect("written");
    fs::set_permissions(dir.path().join("no.key"), Permissions::from_mode(0o600)).expect("changed");
    fs::set_permissions(dir.path().join("open.key"), Permissions::from_mode(0o644))
        .expect("changed");
    let commands: [&[&str]; 10] = [
        &["artifacts", "keygen", "--out", "release.key"],
        &["artifacts", "keygen", "--out", "release.key"],
        &["artifacts", "keygen", "--out", "nowhere/release.key"],
        &["artifacts", "sign", "--key", "release.key", "program"],
        &[
            "artifacts",
            "sign",
            "--key",
            "release.key",
            "program",
            "--out",
            "s.sig",
            "--output",
            "json",
        ],
        &["artifacts", "sign", "--key", "open.key", "program"],
        &["artifacts", "sign", "--key", "no.key", "program"],
        &["artifacts", "sign", "--key", "missing.key", "program"],
        &["artifacts", "sign", "--key", "release.key", "missing"],
        &[
            "artifacts",
            "keygen",
            "--out",
            "other.key",
            "--output",
            "json",
        ],
    ];
    let seen = commands.map(|args| run_in(dir.path(), "http://x", args, ""));
    let public = seen[0]
        .split('"')
        .nth(1)
        .expect("the public key")
        .to_owned();
    insta::assert_snapshot!(steady(&seen.join("\n")));
    let mode = fs::metadata(dir.path().join("release.key")).expect("a key");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let signature = fs::read_to_string(dir.path().join("program.sig")).expect("signed");
    let hash = ring::digest::digest(&ring::digest::SHA256, b"#!/bin/sh\n");
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let key = UnparsedPublicKey::new(&ED25519, bytes(&public));
    key.verify(hash.as_bytes(), &bytes(signature.trim()))
        .expect("the key signed the digits of the hash");
}
