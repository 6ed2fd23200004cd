//! Every command against a fake server: what it prints, and how it ends.
//!
//! Snapshots hold stdout, stderr and the exit code. `INSTA_UPDATE=always cargo test -p rama-cli`
//! writes them anew; read the difference before committing it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock, mpsc};

use rama_gateway::backend::fake::Fake;
use rama_gateway::config::Config;
use rama_gateway::server::{Server, bind};

/// A fake server of its own, which lives until the test process ends.
fn server() -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0, 1)
                .await
                .expect("a port");
            let limits = Config::default().http.limits();
            let server = Server::start(listener, Arc::new(Fake::default()), limits);
            let server = server.expect("serving");
            sender.send(server.address()).expect("the test waits");
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("a server")
}

/// One server for what only reads.
fn shared() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(server)
}

fn run(url: &str, args: &[&str], input: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rama"))
        .args(args)
        .current_dir(dir.path())
        .env_clear()
        .env("RAMA_URL", url)
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
        text.replace(url, "http://SERVER")
            .replace(&dir.path().display().to_string(), "DIR")
    };
    let shown = args.join(" ");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let code = output
        .status
        .code()
        .map_or("signal".to_owned(), |code| code.to_string());
    format!("$ rama {shown}\n{stdout}--- stderr\n{stderr}--- exit {code}\n")
}

fn on(address: SocketAddr, commands: &[&[&str]]) -> String {
    let url = format!("http://{address}");
    commands
        .iter()
        .map(|args| run(&url, args, ""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path of subcommands that has help.
const VERBS: [&[&str]; 17] = [
    &[],
    &["quickstart"],
    &["dev"],
    &["new"],
    &["append"],
    &["select"],
    &["watch"],
    &["status"],
    &["dead-letters"],
    &["dead-letters", "list"],
    &["dead-letters", "replay"],
    &["dead-letters", "drop"],
    &["doctor"],
    &["config"],
    &["config", "show"],
    &["completions"],
    &["man"],
];

#[test]
fn help_is_as_documented_and_ends_with_examples() {
    let mut all = String::new();
    for verb in VERBS {
        let help = run("http://x", &[verb, &["--help"]].concat(), "");
        assert!(help.contains("Examples:\n  "), "no examples in {help}");
        all.push_str(&help);
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}

#[test]
fn append_prints_where_the_record_stands_and_what_came_back() {
    insta::assert_snapshot!(on(
        server(),
        &[
            &["append", "Demo/lines", "\"hello world\""],
            &["append", "Demo/*lines", "\"x\"", "--ack", "append-ack"],
            &[
                "append",
                "Demo/lines",
                "\"x\"",
                "--ack",
                "appendAck",
                "--output",
                "json"
            ],
            &[
                "append",
                "Demo/lines",
                "\"x\"",
                "--ack",
                "none",
                "--output",
                "jsonl"
            ],
        ],
    ));
}

#[test]
fn append_reads_records_from_stdin_and_names_the_bad_line() {
    let url = format!("http://{}", server());
    let input = "\"a\"\n\n\"b\"\n";
    let good = run(
        &url,
        &["append", "Demo/lines", "-", "--output", "jsonl"],
        input,
    );
    let bad = run(&url, &["append", "Demo/lines", "-"], "\"a\"\nb\n\"c\"\n");
    insta::assert_snapshot!(format!("{good}\n{bad}"));
}

#[test]
fn select_prints_values_in_each_form() {
    let server = server();
    on(server, &[&["append", "Demo/lines", "\"be or not to be\""]]);
    insta::assert_snapshot!(on(
        server,
        &[
            &["select", "Demo/counts", "[\"be\"]", "--one"],
            &["select", "Demo/$$counts", "[[\"all\"]]"],
            &["select", "Demo/counts", "[[\"all\"]]", "--output", "json"],
            &["select", "Demo/counts", "[[\"all\"]]", "--output", "jsonl"],
            &[
                "select",
                "Demo/counts",
                "[\"be\"]",
                "--one",
                "--output",
                "json"
            ],
        ],
    ));
}

#[test]
fn watch_prints_the_current_value_first() {
    let server = server();
    on(server, &[&["append", "Demo/lines", "\"be or not to be\""]]);
    let commands: [&[&str]; 2] = [
        &["watch", "Demo/counts", "[\"be\"]", "--count", "1"],
        &[
            "watch",
            "Demo/counts",
            "[\"be\"]",
            "--count",
            "1",
            "--output",
            "jsonl",
        ],
    ];
    insta::assert_snapshot!(on(server, &commands));
}

#[test]
fn status_shows_depots_and_topologies() {
    insta::assert_snapshot!(on(
        shared(),
        &[
            &["status"],
            &["moduleStatus", "Demo", "--output", "json"],
            &["status", "Nope"]
        ],
    ));
}

#[test]
fn dead_letters_are_listed_and_dropped_only_after_a_yes() {
    insta::assert_snapshot!(on(
        server(),
        &[
            &["dead-letters", "list", "Demo"],
            &["deadLetters", "list", "Demo", "--output", "json"],
            &["dead-letters", "drop", "Demo", "--all"],
            &["dead-letters", "replay", "Demo", "0-7"],
            &[
                "dead-letters",
                "drop",
                "Demo",
                "--all",
                "--yes",
                "--output",
                "json"
            ],
            &["dead-letters", "list", "Demo"],
            &["dead-letters", "replay", "Demo"],
        ],
    ));
}

#[test]
fn every_documented_exit_code_is_reached_with_a_hint() {
    insta::assert_snapshot!(on(
        shared(),
        &[
            &["append", "Demo/lines", "\"fail:failed\""],
            &["append", "Demo/lines", "hello"],
            &["append", "lines", "\"x\""],
            &["append", "Demo/lines", "1"],
            &["nonsense"],
            &["append", "Demo/line", "\"x\""],
            &["select", "Nope/counts", "[\"x\"]"],
            &["append", "Demo/lines", "\"fail:rejected\""],
            &["append", "Demo/lines", "\"fail:unavailable\""],
            &[
                "append",
                "Demo/lines",
                "\"fail:unknown\"",
                "--output",
                "json"
            ],
            &["watch", "Demo/counts", "[\"fail:closed\"]"],
        ],
    ));
}

#[test]
fn a_server_that_is_not_there_is_named_with_how_it_was_found() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound");
    let url = format!("http://{port}");
    insta::assert_snapshot!(run(&url, &["status"], ""));
}

#[test]
fn a_server_that_dies_in_the_middle_of_an_append_leaves_it_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    // Accepts, and closes without an answer.
    let server = std::thread::spawn(move || listener.accept().map(drop));
    let seen = run(&url, &["append", "Demo/lines", "\"x\""], "");
    server.join().expect("no panic").expect("one connection");
    assert!(seen.contains("it may have happened"), "{seen}");
    assert!(seen.ends_with("--- exit 6\n"), "{seen}");
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
        let command = Command::new(env!("CARGO_BIN_EXE_rama"))
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
