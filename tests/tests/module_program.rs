//! A module's own program as a process: `describe`, `dev` and `worker`, and `rama dev BINARY`.
//!
//! Relies on the built `rama` and `word_count` binaries. Readiness is awaited by reading what the
//! programs print, never by sleeping.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rama_tests::binary;
use rama_tests::http::Http;
use serde_json::json;

/// Starts a program in `dir` and reads what it prints up to the line that begins with `ready`.
fn start(mut command: Command, dir: &Path, ready: &str) -> (Child, String) {
    let mut child = command
        .current_dir(dir)
        .env("RAMA_HTTP__PORT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    let mut printed = String::new();
    while let Some(Ok(line)) = lines.next() {
        printed.push_str(&line);
        printed.push('\n');
        if line.starts_with(ready) {
            return (child, printed);
        }
    }
    let ended = child.wait().expect("it can be waited for");
    panic!("the program ended ({ended}) after printing {printed}");
}

/// Ctrl-C; the exit code.
fn interrupt(mut child: Child) -> Option<i32> {
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it is our child");
    child.wait().expect("it can be waited for").code()
}

fn server(dir: &Path) -> Http {
    let url = std::fs::read_to_string(dir.join(".rama/http")).expect("the server's address");
    Http::new(url.trim())
}

fn dev(mut command: Command, dir: &Path) -> Child {
    command.args(["dev", "--tasks", "4", "--threads", "2"]);
    start(command, dir, "Stop with").0
}

fn count(dir: &Path, word: &str) -> serde_json::Value {
    let path = "/rest/WordCount/pstate/exact_counts/selectOne";
    server(dir).post(path, &json!([word])).expect("a count")
}

#[test]
fn a_module_program_describes_itself() {
    let output = Command::new(binary("word_count")).arg("describe").output();
    let output = output.expect("the program runs");
    assert_eq!(output.status.code(), Some(0));
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(manifest["module"], json!("WordCount"));
    assert_eq!(manifest["depots"][0]["name"], json!("*lines"));
}

#[test]
fn a_module_program_serves_works_and_keeps_its_data() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let dir = scratch.path();
    let program = || Command::new(binary("word_count"));

    let child = dev(program(), dir);
    let append = "/rest/WordCount/depot/lines/append";
    let lines = json!({"records": ["to be or", "not to be"], "ackLevel": "appendAck"});
    let answers = server(dir).post(append, &lines).expect("appended");
    assert_eq!(answers.as_array().map(Vec::len), Some(2));
    // Exactly once, whatever follows: the count is awaited, and never exceeds two.
    while count(dir, "be") != json!(2) {}
    assert_eq!(interrupt(child), Some(0));
    assert!(
        !dir.join(".rama/http").exists(),
        "the address is taken back"
    );

    let mut worker = program();
    worker.args(["worker", "--tasks", "4", "--threads", "2"]);
    let (child, printed) = start(worker, dir, "ready: ");
    assert!(
        printed.contains("module WordCount, 4 tasks on 2 threads"),
        "{printed}"
    );
    let second = program()
        .arg("worker")
        .current_dir(dir)
        .output()
        .expect("it runs");
    assert_eq!(
        second.status.code(),
        Some(4),
        "the directory is in use: {second:?}"
    );
    assert_eq!(interrupt(child), Some(0));

    // `rama dev BINARY` becomes the program, with its signals and its exit code.
    let link = dir.join("my_module");
    std::os::unix::fs::symlink(binary("word_count"), &link).expect("a link");
    let mut rama = Command::new(binary("rama"));
    rama.arg("dev")
        .arg("my_module")
        .args(["--tasks", "4", "--threads", "2"]);
    let (child, _) = start(rama, dir, "Stop with");
    assert_eq!(count(dir, "be"), json!(2), "the data survived");
    assert_eq!(interrupt(child), Some(0));
}
