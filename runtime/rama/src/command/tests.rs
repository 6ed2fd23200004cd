//! Tests of the command line: what it takes, and what it answers with.

use super::*;
use crate::{Depot, Setup};

struct Lines;

impl Module for Lines {
    fn define(&self, m: &mut Setup) {
        m.depot(Depot::<String>::named("*lines"), crate::Partition::random());
    }
}

struct Mistaken;

impl Module for Mistaken {
    fn define(&self, m: &mut Setup) {
        m.stream("s")
            .source(Depot::<String>::named("*lines"))
            .done();
    }
}

fn exit(module: impl Module, arguments: &[&str]) -> String {
    let arguments = ["lines"]
        .iter()
        .chain(arguments)
        .map(|argument| OsString::from(*argument));
    format!("{:?}", run(Box::new(module), arguments.collect()))
}

fn code(code: u8) -> String {
    format!("{:?}", ExitCode::from(code))
}

#[test]
fn describe_prints_a_manifest() {
    assert_eq!(exit(Lines, &["describe"]), code(0));
}

#[test]
fn mistakes_in_the_definition_exit_with_1() {
    assert_eq!(exit(Mistaken, &["describe"]), code(1));
}

#[test]
fn a_command_line_without_sense_exits_with_2() {
    assert_eq!(exit(Lines, &["march"]), code(2));
    assert_eq!(exit(Lines, &["worker", "--threads", "many"]), code(2));
}

#[test]
fn help_exits_with_0_and_lists_the_codes() {
    assert_eq!(exit(Lines, &["--help"]), code(0));
    let help = Arguments::command().render_help().to_string();
    assert!(
        help.contains("Exit codes:") && help.contains("describe"),
        "{help}"
    );
}
