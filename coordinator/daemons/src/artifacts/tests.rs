//! Programs that are what they say, and those that are not.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;

const PROGRAM: &[u8] = b"#!/bin/sh\nexit 0\n";

fn name_of(bytes: &[u8]) -> String {
    hexadecimal(ring::digest::digest(&SHA256, bytes).as_ref())
}

fn put(artifacts: &Artifacts, name: &str, bytes: &[u8]) -> Result<PathBuf, ArtifactError> {
    let mut upload = artifacts.begin(name)?;
    for piece in bytes.chunks(5) {
        upload.write(piece)?;
    }
    upload.finish()
}

#[test]
fn a_program_is_found_under_its_hash_and_can_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(dir.path(), TrustRoots::default()).unwrap();
    let name = name_of(PROGRAM);
    assert_eq!(artifacts.find(&name).unwrap(), None);
    // Two at once do not disturb each other.
    let slow = artifacts.begin(&name).unwrap();
    let path = put(&artifacts, &name, PROGRAM).unwrap();
    drop(slow);
    assert_eq!(artifacts.find(&name).unwrap(), Some(path.clone()));
    assert_eq!(artifacts.verify(&name).unwrap(), path);
    assert!(
        std::process::Command::new(&path)
            .status()
            .unwrap()
            .success()
    );
    fs::write(&path, b"changed").unwrap();
    let changed = artifacts.verify(&name).unwrap_err();
    assert!(matches!(changed, ArtifactError::Hash { .. }), "{changed}");
}

#[test]
fn other_bytes_than_announced_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(dir.path(), TrustRoots::default()).unwrap();
    let name = name_of(PROGRAM);
    let wrong = put(&artifacts, &name, b"something else").unwrap_err();
    assert!(matches!(wrong, ArtifactError::Hash { .. }), "{wrong}");
    assert_eq!(artifacts.find(&name).unwrap(), None);
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
    // What a crash left is cleared away.
    std::mem::forget(artifacts.begin(&name).unwrap());
    Artifacts::open(dir.path(), TrustRoots::default()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
}

#[test]
fn names_that_are_no_hashes_reach_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(dir.path(), TrustRoots::default()).unwrap();
    for name in ["", "../../etc/passwd", &"A".repeat(64), &"a".repeat(63)] {
        let error = artifacts.begin(name).unwrap_err();
        assert!(matches!(error, ArtifactError::Name { .. }), "{error}");
    }
}

#[test]
fn only_what_a_trusted_key_has_signed_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let random = SystemRandom::new();
    let pair = || {
        let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
    };
    let (trusted, stranger) = (pair(), pair());
    let root = hexadecimal(trusted.public_key().as_ref());
    let roots = TrustRoots::parse([root.as_str()]).unwrap();
    let artifacts = Artifacts::open(dir.path(), roots).unwrap();
    let name = name_of(PROGRAM);
    put(&artifacts, &name, PROGRAM).unwrap();
    let unsigned = artifacts.verify(&name).unwrap_err();
    assert!(
        unsigned.to_string().contains("it is not signed"),
        "{unsigned}"
    );
    let foreign = stranger.sign(name.as_bytes());
    let error = artifacts
        .sign(&name, &hexadecimal(foreign.as_ref()))
        .unwrap_err();
    assert!(error.to_string().contains("no trusted key"), "{error}");
    fs::write(artifacts.signature(&name).unwrap(), foreign.as_ref()).unwrap();
    artifacts.verify(&name).unwrap_err();
    let signature = trusted.sign(name.as_bytes());
    artifacts
        .sign(&name, &hexadecimal(signature.as_ref()))
        .unwrap();
    artifacts.verify(&name).unwrap();
    let short = artifacts.sign(&name, "ab").unwrap_err();
    assert!(matches!(short, ArtifactError::Signature { .. }), "{short}");
    assert!(TrustRoots::parse(["abc"]).is_err());
}
