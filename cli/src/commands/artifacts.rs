//! `rama artifacts`: keys and signatures of programs.
//!
//! Relies on ring for Ed25519. What is signed are the 64 hexadecimal digits of the program's
//! SHA-256, which name it everywhere; keys are PKCS#8 in DER, as other tools write them. What must
//! stay true: a private key is written with mode 0600 before its first byte and never replaced; one
//! that others may read is not used.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rama_net::certificates::hexadecimal;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::deploy::Program;
use crate::args::Format;
use crate::args::artifacts::{Artifacts, Sign};
use crate::error::{Exit, Failure, Result};
use crate::output;

/// Hexadecimal digits of a signature.
const SIGNATURE_LETTERS: usize = 128;

pub fn run(format: Format, command: &Artifacts) -> Result<()> {
    match command {
        Artifacts::Keygen { out } => keygen(format, out),
        Artifacts::Sign(args) => sign(format, args),
    }
}

fn keygen(format: Format, out: &Path) -> Result<()> {
    let random = |_| {
        let text = "could not make a key: the system gave no random numbers";
        Failure::new(Exit::Failed, text, "is /dev/urandom there?")
    };
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(random)?;
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("it was made above");
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(document.as_ref())?;
            file.sync_all()
        });
    written.map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists => {
            let text = format!("{} exists already and is not replaced", out.display());
            Failure::new(Exit::Refused, text, "choose another --out")
        }
        _ => file_failure("write", out, &cause),
    })?;
    let public = hexadecimal(pair.public_key().as_ref());
    let value = json!({"key": out.display().to_string(), "public": public});
    output::print(format, &value, || {
        format!(
            "{}: signs; keep it away from the network\nsupervisor.trust_roots = \"{public}\"",
            out.display()
        )
    })
}

fn sign(format: Format, args: &Sign) -> Result<()> {
    let pair = read_key(&args.key)?;
    let program = Program::open(&args.program);
    let program = program.map_err(|failure| failure.hint("name a program that is there"))?;
    let sha256 = program.sha256()?;
    let signature = hexadecimal(pair.sign(sha256.as_bytes()).as_ref());
    let out = args.out.clone().unwrap_or_else(|| beside(&args.program));
    let written = fs::write(&out, format!("{signature}\n"));
    written.map_err(|cause| file_failure("write", &out, &cause))?;
    let value = json!({
        "sha256": sha256,
        "signature": signature,
        "file": out.display().to_string(),
    });
    output::print(format, &value, || {
        format!("{}: signature of program {sha256}", out.display())
    })
}

/// `PROGRAM.sig`
pub fn beside(program: &Path) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// The digits of a signature in a file.
pub fn read_signature(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(|cause| file_failure("read", path, &cause))?;
    let digits = text.trim();
    if digits.len() == SIGNATURE_LETTERS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    let text = format!("{} holds no signature", path.display());
    Err(Failure::new(
        Exit::Usage,
        text,
        "`rama artifacts sign` makes one",
    ))
}

fn read_key(path: &Path) -> Result<Ed25519KeyPair> {
    let mode = fs::metadata(path).map_err(|cause| file_failure("read", path, &cause))?;
    let mode = mode.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let shown = path.display();
        let text = format!("{shown} may be read by others (mode {mode:04o})");
        let hint = format!("run `chmod 600 {shown}`: a private key is for its owner alone");
        return Err(Failure::new(Exit::Refused, text, hint));
    }
    let bytes = fs::read(path).map_err(|cause| file_failure("read", path, &cause))?;
    // Keys of other tools lack the public half.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).map_err(|_| {
        let text = format!("{} holds no Ed25519 key (PKCS#8, DER)", path.display());
        Failure::new(
            Exit::Usage,
            text,
            "name the file that `rama artifacts keygen` wrote",
        )
    })
}

fn file_failure(verb: &str, path: &Path, cause: &io::Error) -> Failure {
    let exit = match cause.kind() {
        ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::Failed,
    };
    let text = format!("could not {verb} {}: {cause}", path.display());
    Failure::new(exit, text, "check the path and its permissions")
}
