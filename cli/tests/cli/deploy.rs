//! What changes which modules a cluster has: `deploy` and `destroy`.
//!
//! The programs lie in `tests/programs`: written by a test, they would sometimes be busy.

use crate::command::{directory, run, run_in};
use crate::conductor::{Cluster, cluster, stranger_of};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");

fn launch(url: &str, program: &str, module: &str, more: &[&str]) -> String {
    let binary = format!("{PROGRAMS}/{program}");
    let args = ["deploy", "--action", "launch", "--binary", &binary];
    let shape = [
        "--module",
        module,
        "--tasks",
        "8",
        "--threads",
        "4",
        "--workers",
        "2",
    ];
    let args = [&args[..], &shape, more].concat();
    run(url, &args, "").replace(PROGRAMS, "PROGRAMS")
}

fn transcripts(cluster: &Cluster, seen: &[String]) -> String {
    format!("{}\nasked:\n{}", seen.join("\n"), cluster.asked())
}

#[test]
fn a_launch_uploads_what_is_missing_and_ends_when_the_module_runs() {
    let cluster = cluster();
    let url = cluster.url.as_str();
    let seen = [
        launch(url, "word_count", "WordCount", &[]),
        launch(url, "word_count", "WordCount", &["--output", "json"]),
        launch(url, "flaky", "Flaky", &["--wait"]),
    ];
    insta::assert_snapshot!(transcripts(&cluster, &seen));
}

#[test]
fn a_launch_that_is_not_waited_for_names_its_operation() {
    let cluster = cluster();
    let url = cluster.url.as_str();
    let seen = [
        launch(url, "slow", "Slow", &["--no-wait"]),
        launch(url, "slow", "Slow", &["--noWait", "--output", "json"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
    // How far it comes within the time depends on the machine; that it ends does not.
    let late = launch(url, "slow", "Slow", &["--timeout", "2s"]);
    assert!(late.ends_with("--- exit 7\n"), "{late}");
}

#[test]
fn a_signature_goes_with_the_program() {
    let cluster = cluster();
    let url = cluster.url.as_str();
    let dir = directory();
    let good = dir.path().join("good.sig");
    let bad = dir.path().join("bad.sig");
    std::fs::write(&good, format!("{}\n", "0A".repeat(64))).expect("written");
    std::fs::write(&bad, "no signature\n").expect("written");
    let named = |path: &std::path::Path| {
        let path = path.display().to_string();
        launch(url, "word_count", "WordCount", &["--signature", &path])
    };
    let seen = [
        named(&good),
        named(&bad),
        named(&dir.path().join("none.sig")),
    ];
    let seen = transcripts(&cluster, &seen);
    insta::assert_snapshot!(seen.replace(&dir.path().display().to_string(), "FILES"));
}

#[test]
fn a_plan_changes_nothing_and_carries_every_flag() {
    let cluster = cluster();
    let url = cluster.url.as_str();
    let dir = directory();
    let overrides = dir.path().join("overrides.toml");
    std::fs::write(
        &overrides,
        "[worker.resources]\ncpus = 2\nenv.TZ = \"UTC\"\n",
    )
    .expect("written");
    let overrides = overrides.display().to_string();
    let all = [
        "--replicationFactor",
        "3",
        "--targetLabel",
        "ssd",
        "--moduleOptions",
        "a=1;b=word; c = {\"d\": true}",
        "--topologyOptions",
        "etl,a=1;etl,b=2;other,a=1",
        "--depotOptions",
        "*d,a=1",
        "--pstateOptions",
        "$$p,a=1;",
        "--metadata",
        "first try",
        "--configOverrides",
        &overrides,
        "--useInternalHostnames",
        "--dry-run",
    ];
    let jar = format!("{PROGRAMS}/word_count");
    let jar = [
        "deploy",
        "--action",
        "launch",
        "--jar",
        &jar,
        "--module",
        "WordCount",
        "--tasks",
        "8",
        "--threads",
        "8",
        "--workers",
        "1",
        "--dryRun",
        "--output",
        "json",
    ];
    let seen = [
        launch(url, "word_count", "WordCount", &all),
        run(url, &jar, "").replace(PROGRAMS, "PROGRAMS"),
    ];
    let seen = transcripts(&cluster, &seen);
    insta::assert_snapshot!(seen.replace(&dir.path().display().to_string(), "FILES"));
}

#[test]
fn a_launch_that_comes_to_nothing_says_why() {
    let cluster = cluster();
    let url = cluster.url.as_str();
    let seen = [
        launch(url, "doomed", "Doomed", &[]),
        launch(url, "doomed", "Doomed", &["--output", "json"]),
        launch(url, "busy", "Busy", &[]),
        launch(url, "odd", "Odd", &[]),
        launch(&stranger_of(&cluster), "odd", "Odd", &[]),
        launch(&stranger_of(&cluster), "odd", "Odd", &["--dry-run"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn what_is_known_to_be_wrong_is_told_before_anything_is_sent() {
    let dir = directory();
    std::fs::write(dir.path().join("bad.toml"), "[worker\ncores = 1\n").expect("written");
    std::fs::write(dir.path().join("bare.toml"), "cores = 1\n").expect("written");
    let bad = dir.path().join("bad.toml").display().to_string();
    let bare = dir.path().join("bare.toml").display().to_string();
    let cluster = cluster();
    let url = cluster.url.as_str();
    let word_count = |more: &[&str]| launch(url, "word_count", "WordCount", more);
    let shape = |tasks: &str, threads: &str, workers: &str, replicas: &str| {
        let binary = format!("{PROGRAMS}/word_count");
        let args = ["deploy", "--action", "launch", "--binary", &binary];
        let shape = ["--module", "WordCount", "--tasks", tasks];
        let rest = ["--threads", threads, "--workers", workers];
        let replicas = ["--replicationFactor", replicas];
        let args = [&args[..], &shape, &rest, &replicas].concat();
        run(url, &args, "").replace(PROGRAMS, "PROGRAMS")
    };
    let seen = [
        shape("6", "4", "2", "1"),
        shape("8", "9", "2", "1"),
        shape("8", "4", "5", "1"),
        shape("8", "4", "0", "1"),
        shape("8", "4", "2", "1000000"),
        word_count(&["--module-options", "a"]),
        word_count(&["--module-options", "a=1;a=2"]),
        word_count(&["--depot-options", "a=1"]),
        word_count(&["--depot-options", ",a=1"]),
        word_count(&["--config-overrides", &bad]),
        word_count(&["--config-overrides", &bare]),
        word_count(&["--config-overrides", "/nowhere.toml"]),
        launch(url, "word_count", "Bank", &[]),
        launch(url, "plain", "Plain", &[]),
        launch(url, "stranger", "Plain", &[]),
        launch(url, "mistaken", "Plain", &[]),
        launch(url, "nothing", "Plain", &[]),
        launch(url, ".", "Plain", &[]),
        run(url, &["deploy", "--action", "update"], ""),
    ];
    let seen = seen.join("\n");
    assert_eq!(cluster.asked(), "");
    insta::assert_snapshot!(seen.replace(&dir.path().display().to_string(), "FILES"));
}

#[test]
fn a_module_is_destroyed_by_who_says_its_name_twice() {
    let cluster = cluster();
    let url = cluster.url.as_str();
    let dir = directory();
    let destroy =
        |args: &[&str], input: &str| run_in(dir.path(), url, &[&["destroy"], args].concat(), input);
    let seen = [
        destroy(&["Bank", "--yes", "Bank"], ""),
        destroy(&["Bank", "--yes", "Bank", "--output", "json"], ""),
        destroy(&["Bank", "--yes", "Bank", "--no-wait"], ""),
        destroy(&["Bank"], "Bank\n"),
        destroy(&["Bank", "--yes", "bank"], ""),
        destroy(&["Nope", "--yes", "Nope"], ""),
        destroy(&["Busy", "--yes", "Busy"], ""),
        destroy(&["Doomed", "--yes", "Doomed"], ""),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}
