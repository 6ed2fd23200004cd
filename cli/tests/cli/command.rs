//! Runs one command in a directory of its own and shows what came of it.
//!
//! Relies on the built binary. What must stay true: the environment of the test does not leak in.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub const RAMA: &str = env!("CARGO_BIN_EXE_rama");

/// A directory on a disk that has direct I/O.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// Runs `rama` with `args` against `url`; the transcript.
pub fn run(url: &str, args: &[&str], input: &str) -> String {
    let dir = directory();
    run_in(dir.path(), url, args, input)
}

/// The same in a directory.
pub fn run_in(dir: &Path, url: &str, args: &[&str], input: &str) -> String {
    let environment = [("RAMA_URL", url), ("RAMA_HTTP__PORT", "0")];
    run_with(dir, &environment, args, input).replace(url, "http://SERVER")
}

/// The same with this environment.
pub fn run_with(dir: &Path, environment: &[(&str, &str)], args: &[&str], input: &str) -> String {
    let mut child = Command::new(RAMA)
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(environment.iter().copied())
        .env("COLUMNS", "100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that does not read its input may be gone already.
    let _ = child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        text.replace(&dir.display().to_string(), "DIR")
    };
    let shown = text(args.join(" ").as_bytes());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let code = output.status.code();
    let code = code.map_or("signal".to_owned(), |code| code.to_string());
    format!("$ rama {shown}\n{stdout}--- stderr\n{stderr}--- exit {code}\n")
}

/// The transcripts of several commands, one after the other.
pub fn all(url: &str, commands: &[&[&str]]) -> String {
    let transcripts = commands.iter().map(|args| run(url, args, ""));
    transcripts.collect::<Vec<_>>().join("\n")
}

/// `text` with the number after each `before` replaced by `word`.
pub fn without_numbers(text: &str, before: &str, word: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.');
        out.push_str(before);
        out.push_str(if rest.len() == part.len() { "" } else { word });
        out.push_str(rest);
    }
    out
}
