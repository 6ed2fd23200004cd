//! A whole development server as a process: what it prints works, and its data outlives it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::command::{RAMA, directory, run_in, without_numbers};

/// Starts a server on any free port; its process and what it printed when it was ready.
fn start(dir: &Path) -> (Child, Vec<String>) {
    let mut child = Command::new(RAMA)
        .args(["dev", "--example", "word-count", "--port", "0"])
        .args(["--tasks", "2", "--threads", "1"])
        .current_dir(dir)
        .env_remove("RAMA_URL")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut banner = Vec::new();
    for line in lines {
        let line = line.expect("text");
        let last = line.starts_with("Stop with");
        banner.push(line);
        if last {
            return (child, banner);
        }
    }
    let ended = child.wait().expect("it can be waited for");
    panic!("the server ended ({ended}) after printing {banner:?}");
}

/// Runs a printed command in the server's directory, as a shell would.
fn shell(dir: &Path, command: &str) -> Output {
    let command = command.replacen("rama", RAMA, 1);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &command])
        .current_dir(dir)
        .env_remove("RAMA_URL");
    shell.output().expect("a shell")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn printed_commands_work_and_data_survives_kill_9_and_ctrl_c() {
    let dir = directory();
    let dir = dir.path();
    let (mut server, banner) = start(dir);
    let commands = banner
        .iter()
        .filter_map(|line| Some(&line[line.find("  rama ")? + 2..]));
    let commands: Vec<&str> = commands.collect();
    assert!(commands.len() >= 4, "{banner:?}");
    for command in commands {
        // A watch has no end of its own.
        let watch = if command.contains(" watch ") {
            " --count 1"
        } else {
            ""
        };
        let output = shell(dir, &format!("{command}{watch}"));
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let second = shell(dir, "rama dev --example bank");
    assert_eq!(second.status.code(), Some(4), "{second:?}");

    signal(&server, "-KILL");
    server.wait().expect("it ended");
    assert_eq!(shell(dir, "rama status").status.code(), Some(5));

    let (mut server, _) = start(dir);
    let status = shell(dir, "rama status --output json");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["modules"][0]["depots"][0]["records"], 1, "{status}");
    signal(&server, "-INT");
    assert_eq!(server.wait().expect("it ended").code(), Some(0));
    assert!(
        !dir.join(".rama/http").exists(),
        "the address is taken back"
    );
}

#[test]
fn the_first_words_and_the_refusals_of_a_server_are_as_documented() {
    let dir = directory();
    let dir = dir.path();
    let (mut server, banner) = start(dir);
    let address = std::fs::read_to_string(dir.join(".rama/http")).expect("an address");
    let commands: [&[&str]; 5] = [
        &["dev", "--example", "bank"],
        &["dev", "--example", "nonsense"],
        &["dev"],
        &["dev", "no_such_program"],
        &["dev", "--example", "bank", "--tasks", "3"],
    ];
    let refusals = commands.map(|args| run_in(dir, address.trim(), args, ""));
    signal(&server, "-INT");
    assert_eq!(server.wait().expect("it ended").code(), Some(0));
    let seen = format!("{}\n\n{}", banner.join("\n"), refusals.join("\n"));
    let seen = without_numbers(&seen, "http://127.0.0.1:", "PORT");
    let seen = without_numbers(&seen, "ready in ", "SECONDS");
    insta::assert_snapshot!(seen.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}
