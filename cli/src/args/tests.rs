//! The whole command line: both spellings, and that every command is shown by snapshots.

use std::collections::BTreeMap;

use super::*;

/// They run until they are stopped: no result is printed.
const DAEMONS: &[&str] = &["conductor", "dev", "dev-metastore", "supervisor"];

/// What they print is a document, a script, or another program's; whatever form is asked for.
const PAPERS: &[&str] = &["completions", "man", "run"];

/// What it finds is the machine's: a test compares everything but that.
const OF_THE_MACHINE: &[&str] = &["doctor"];

/// They read and change nothing.
const NEVER_FAIL: &[&str] = &["cleanup-licenses", "license-info"];

/// Every command that does something, by its words.
fn leaves(command: &clap::Command, words: &str, found: &mut Vec<String>) {
    let inner = command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help");
    let inner: Vec<_> = inner.collect();
    if inner.is_empty() {
        found.push(words.to_owned());
    }
    for inner in inner {
        leaves(inner, format!("{words} {}", inner.get_name()).trim(), found);
    }
}

/// What snapshots show of a command.
#[derive(Debug, Default)]
struct Shown {
    help: bool,
    table: bool,
    json: bool,
    error: bool,
}

/// Every transcript of the snapshots, by command.
fn shown() -> BTreeMap<String, Shown> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/snapshots");
    let whole = command();
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "snap") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("a text");
        for transcript in format!("\n{text}").split("\n$ rama ").skip(1) {
            let (line, rest) = transcript.split_once('\n').unwrap_or((transcript, ""));
            let (mut at, mut name) = (&whole, String::new());
            for word in line.split_whitespace() {
                let Some(inner) = at.find_subcommand(word) else {
                    break;
                };
                name = format!("{name} {}", inner.get_name()).trim().to_owned();
                at = inner;
            }
            let end = rest.find("--- exit ").map(|at| &rest[at + 9..]);
            let well = end.is_some_and(|code| code.starts_with("0\n") || code == "0");
            let json = line.contains("--output json");
            let shown = shown.entry(name).or_default();
            match (line.contains("--help"), well, json) {
                (true, ..) => shown.help = true,
                (_, true, true) => shown.json = true,
                (_, true, false) => shown.table = true,
                (_, false, _) => shown.error = true,
            }
        }
    }
    shown
}

#[test]
fn every_command_and_flag_is_accepted_in_both_spellings() {
    fn check(command: &clap::Command, count: &mut usize) {
        for arg in command.get_arguments() {
            let Some(other) = arg.get_long().and_then(spelling::camel) else {
                continue;
            };
            let known = arg.get_all_aliases().unwrap_or_default();
            assert!(known.contains(&other.as_str()), "--{other} is not accepted");
            *count += 1;
        }
        for inner in command.get_subcommands() {
            if let Some(other) = spelling::camel(inner.get_name()) {
                let found = command.find_subcommand(&other).map(clap::Command::get_name);
                assert_eq!(found, Some(inner.get_name()), "{other} is not accepted");
                *count += 1;
            }
            check(inner, count);
        }
    }
    let command = command();
    command.clone().debug_assert();
    let mut count = 0;
    check(&command, &mut count);
    assert!(count > 50, "{count} names have two spellings");
    for (kebab, camel) in [("a", None), ("dry-run", Some("dryRun"))] {
        assert_eq!(spelling::camel(kebab).as_deref(), camel);
    }
}

/// Words of Rama's own command line that are not ours in another spelling.
#[test]
fn what_scripts_for_rama_type_is_understood() {
    for line in [
        "deploy --action launch --jar m --module M --tasks 8 --threads 4 --workers 2 \
         --replicationFactor 3 --configOverrides o.toml --moduleOptions k=v --topologyOptions t,k=v \
         --depotOptions d,k=v --pstateOptions p,k=v --targetLabel l --useInternalHostnames",
        "devZookeeper --dataDir d --peerPort 1",
        "upsertLicense --licensePath l",
        "taskGroupsStatus M 00000000-0000-0000-0000-000000000001 --useInternalHostnames",
        "deadLetters list M",
    ] {
        let words = std::iter::once("rama").chain(line.split_whitespace());
        if let Err(error) = command().try_get_matches_from(words) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn every_command_is_shown_by_snapshots() {
    let mut commands = Vec::new();
    leaves(&command(), "", &mut commands);
    let listed = [DAEMONS, PAPERS, OF_THE_MACHINE, NEVER_FAIL].concat();
    for name in &listed {
        assert!(
            commands.iter().any(|command| command == name),
            "{name} is gone"
        );
    }
    let shown = shown();
    let none = Shown::default();
    let mut missing = Vec::new();
    for command in &commands {
        let is = |list: &[&str]| list.contains(&command.as_str());
        let seen = shown.get(command).unwrap_or(&none);
        let results = !is(DAEMONS) && !is(PAPERS) && !is(OF_THE_MACHINE);
        let wanted = [
            (seen.help, true, "--help"),
            (seen.table, results, "success as a table"),
            (seen.json, results, "success as JSON"),
            (
                seen.error,
                !is(NEVER_FAIL) && !is(OF_THE_MACHINE),
                "an error",
            ),
        ];
        let lacks = wanted.iter().filter(|(seen, wanted, _)| *wanted && !seen);
        missing.extend(lacks.map(|(.., what)| format!("{command}: {what}")));
    }
    assert!(
        missing.is_empty(),
        "no snapshot of\n  {}",
        missing.join("\n  ")
    );
}
