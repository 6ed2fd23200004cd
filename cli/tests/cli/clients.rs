//! Commands that ask a server, against a real one.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use crate::command::{RAMA, all, directory, run, without_numbers};
use crate::demo::{Server, server, server_with};

fn on(server: &Server, commands: &[&[&str]]) -> String {
    shown(server, &all(&server.url, commands))
}

fn shown(server: &Server, text: &str) -> String {
    without_numbers(
        &text.replace(&server.cluster, "CLUSTER"),
        "\"timeMs\": ",
        "TIME",
    )
}

#[test]
fn append_prints_where_the_record_stands_and_what_came_back() {
    insta::assert_snapshot!(on(
        &server(),
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
            &["append", "Demo/lines", "\"x\"", "--output", "json"],
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
    let server = server();
    let good = ["append", "Demo/lines", "-", "--output", "jsonl"];
    let good = run(&server.url, &good, "\"a\"\n\n\"b\"\n");
    let bad = run(
        &server.url,
        &["append", "Demo/lines", "-"],
        "\"a\"\nb\n\"c\"\n",
    );
    insta::assert_snapshot!(format!("{good}\n{bad}"));
}

#[test]
fn append_sends_lines_in_batches_and_answers_each() {
    let server = server();
    let batch = ["append", "Demo/lines", "-", "--batch", "2"];
    let good = run(&server.url, &batch, "\"a\"\n\"b c\"\n\n\"d\"\n");
    let lines = [&batch[..], &["--ack", "append-ack", "--output", "jsonl"]].concat();
    let as_lines = run(&server.url, &lines, "\"e\"\n\"f\"\n\"g\"\n");
    let bad = run(&server.url, &lines, "\"h\"\n1\n\"i\"\n");
    let unread = run(&server.url, &lines, "\"j\"\nk\n");
    let none = run(
        &server.url,
        &["append", "Demo/lines", "-", "--batch", "0"],
        "",
    );
    insta::assert_snapshot!([good, as_lines, bad, unread, none].join("\n"));
}

#[test]
fn append_names_the_line_of_a_batch_that_failed() {
    let server = server();
    let batch = ["append", "Demo/lines", "-", "--batch", "2"];
    let seen = run(&server.url, &batch, "\"poison\"\n\"a\"\n\"b\"\n");
    assert!(
        seen.contains("error: line 1 (the others to line 2 were sent too): "),
        "{seen}"
    );
    assert!(seen.ends_with("--- exit 1\n"), "{seen}");
}

#[test]
fn a_command_gives_up_when_its_time_is_over() {
    let server = server();
    on(&server, &[&["append", "Demo/lines", "\"be\""]]);
    insta::assert_snapshot!(on(
        &server,
        &[
            &["append", "Demo/lines", "\"wait\"", "--timeout", "200ms"],
            &[
                "watch",
                "Demo/counts",
                "[\"nobody\"]",
                "--count",
                "2",
                "--timeout",
                "0.2s"
            ],
            &["status", "--timeout", "2 parsecs"],
            &["select", "Demo/counts", "[\"be\"]", "--timeout", "0"],
        ],
    ));
    // Every command that asks a server has the limit, and none waits beyond it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("bound"));
    let asking: [&[&str]; 18] = [
        &["append", "M/d", "1"],
        &["select", "M/p", "[1]"],
        &["watch", "M/p", "[1]"],
        &["status"],
        &["dead-letters", "list", "M"],
        &["dead-letters", "replay", "M", "--all"],
        &["dead-letters", "drop", "M", "--all", "--yes"],
        &["destroy", "M", "--yes", "M"],
        &["module-status", "M"],
        &["module-instance-status", "M"],
        &["task-groups-status", "M"],
        &["modules"],
        &["supervisors"],
        &["operations"],
        &["pause-topology", "M", "t"],
        &["set-option", "module", "M", "o", "1"],
        &["list-options", "M"],
        &["logs", "M", "0"],
    ];
    for args in asking {
        let seen = run(&url, &[args, &["--timeout", "100ms"]].concat(), "");
        assert!(seen.ends_with("--- exit 7\n"), "{seen}");
    }
}

/// A watch as a process, with the lines it prints.
struct Watching {
    child: Child,
    values: Lines<BufReader<ChildStdout>>,
    said: Lines<BufReader<ChildStderr>>,
}

fn watching(server: &Server, more: &[&str]) -> Watching {
    let mut child = Command::new(RAMA)
        .args(["watch", "Demo/last", "[\"be\"]"])
        .args(more)
        .env("RAMA_URL", &server.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let values = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said = BufReader::new(child.stderr.take().expect("piped")).lines();
    Watching {
        child,
        values,
        said,
    }
}

fn next(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    let line = lines.next().expect("the command goes on");
    line.expect("text")
}

#[test]
fn a_watch_resumes_when_its_server_is_back() {
    let dir = directory();
    let data = dir.path().join("data");
    let first = server_with(|config| config.cluster.data_dir = data.clone());
    let port = first
        .url
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let port: u16 = port.expect("an address ends with its port");
    on(&first, &[&["append", "Demo/lines", "\"be one\""]]);
    let mut forever = watching(&first, &["--count", "2"]);
    let mut once = watching(&first, &["--no-reconnect"]);
    assert_eq!(next(&mut forever.values), "be one");
    assert_eq!(next(&mut once.values), "be one");
    let url = first.url.clone();
    drop(first);
    assert_eq!(once.child.wait().expect("it ends").code(), Some(5));
    let said = next(&mut once.said);
    assert!(
        said.starts_with(&format!("error: lost the server at {url}: ")),
        "{said}"
    );
    let said = next(&mut forever.said);
    assert!(said.ends_with("; waiting for it (Ctrl-C ends)"), "{said}");
    let second = server_with(|config| {
        config.cluster.data_dir = data.clone();
        config.http.port = port;
        config.http.port_tries = 1;
    });
    assert_eq!(
        next(&mut forever.said),
        format!("resumed at {url}: the value is the same")
    );
    on(&second, &[&["append", "Demo/lines", "\"be two\""]]);
    assert_eq!(
        next(&mut forever.values),
        "be two",
        "the known value is not repeated"
    );
    assert_eq!(forever.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn select_prints_values_in_each_form() {
    let server = server();
    on(&server, &[&["append", "Demo/lines", "\"be or not to be\""]]);
    insta::assert_snapshot!(on(
        &server,
        &[
            &["select", "Demo/counts", "[\"be\"]", "--one"],
            &["select", "Demo/$$counts", "[\"be\"]"],
            &["select", "Demo/counts", "[\"be\"]", "--output", "json"],
            &["select", "Demo/counts", "[\"be\"]", "--output", "jsonl"],
            &[
                "select",
                "Demo/counts",
                "[\"be\"]",
                "--one",
                "--output",
                "json"
            ],
            &["select", "Demo/counts", "[\"nobody\"]", "--one"],
            &["select", "Demo/counts", "[[\"all\"]]"],
            &["select", "Demo/counts", "be"],
        ],
    ));
}

#[test]
fn invoke_prints_the_result_of_a_query() {
    let server = server();
    on(&server, &[&["append", "Demo/lines", "\"be or not to be\""]]);
    insta::assert_snapshot!(on(
        &server,
        &[
            &["invoke", "Demo/times", "\"be\""],
            &["invoke", "Demo/times", "\"be\"", "--output", "json"],
            &["invoke", "Demo/times", "[1, 2]"],
            &["invoke", "Demo/nothing"],
        ],
    ));
}

#[test]
fn watch_prints_the_current_value_first() {
    let server = server();
    on(&server, &[&["append", "Demo/lines", "\"be or not to be\""]]);
    let watch: [&str; 5] = ["watch", "Demo/counts", "[\"be\"]", "--count", "1"];
    let commands: [&[&str]; 3] = [
        &watch,
        &[&watch[..], &["--output", "jsonl"]].concat(),
        &["watch", "Demo/counts", "[[\"nonsense\"]]"],
    ];
    insta::assert_snapshot!(on(&server, &commands));
}

#[test]
fn status_shows_depots_and_topologies() {
    let server = server();
    on(&server, &[&["append", "Demo/lines", "\"be or not to be\""]]);
    insta::assert_snapshot!(on(
        &server,
        &[
            &["status"],
            &["status", "Demo", "--output", "json"],
            &["moduleStatus", "Demo"],
            &["status", "Nope"],
        ],
    ));
}

#[test]
fn dead_letters_are_listed_and_dropped_only_after_a_yes() {
    let server = server();
    let poisoned = on(&server, &[&["append", "Demo/lines", "\"poison\""]]);
    // The append fails with the first attempt (D-20); the letter is written right after it.
    let list: [&str; 5] = ["dead-letters", "list", "Demo", "--output", "jsonl"];
    while !run(&server.url, &list, "").contains("\"poison\"") {}
    let commands = on(
        &server,
        &[
            &["dead-letters", "list", "Demo"],
            &["deadLetters", "list", "Demo", "--output", "json"],
            &["dead-letters", "drop", "Demo", "--all"],
            &["dead-letters", "drop", "Demo", "7"],
            &["dead-letters", "replay", "Demo"],
            &["dead-letters", "list", "Nope"],
            &[
                "dead-letters",
                "drop",
                "Demo",
                "--all",
                "--yes",
                "--output",
                "json",
            ],
            &["dead-letters", "replay", "Demo", "--all"],
            &["deadLetters", "replay", "Demo", "--all", "--output", "json"],
            &["dead-letters", "drop", "Demo", "--all", "--yes"],
            &["dead-letters", "list", "Demo"],
        ],
    );
    insta::assert_snapshot!(format!("{poisoned}\n{commands}"));
}

#[test]
fn every_documented_exit_code_is_reached_with_a_hint() {
    let server = server();
    insta::assert_snapshot!(on(
        &server,
        &[
            &["append", "Demo/lines", "\"poison\""],
            &["append", "Demo/lines", "hello"],
            &["append", "lines", "\"x\""],
            &["append", "Demo/lines", "1"],
            &["nonsense"],
            &["append", "Demo/line", "\"x\""],
            &["select", "Nope/counts", "[\"x\"]"],
            &["append", "Demo/closed", "\"x\""],
        ],
    ));
}

#[test]
fn an_append_that_the_server_gave_up_waiting_for_is_unknown() {
    let server = server_with(|config| config.http.request_timeout_ms = 300);
    let append: [&str; 3] = ["append", "Demo/lines", "\"wait\""];
    insta::assert_snapshot!(on(
        &server,
        &[&append, &[&append[..], &["--output", "json"]].concat()],
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
