//! Commands that ask a server, against a real one.

use std::net::TcpListener;

use crate::command::{all, run, without_numbers};
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
            &["moduleStatus", "Demo", "--output", "json"],
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
