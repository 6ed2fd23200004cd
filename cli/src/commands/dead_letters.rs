//! `rama dead-letters`: records that a topology gave up on.
//!
//! Relies on `/rest/{module}/dead-letters`. What must stay true: nothing is dropped without a yes.

use std::io::{IsTerminal, Write, stderr, stdin};

use rama_runtime::DeadLetter;
use serde_json::{Value, json};

use crate::args::{self, Format, Letters};
use crate::client::{Client, Effect, segment};
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub fn run(format: Format, command: &args::DeadLetters) -> Result<()> {
    match command {
        args::DeadLetters::List { module, server } => list(&Client::new(server)?, format, module),
        args::DeadLetters::Replay(letters) => settle(format, letters, "replay"),
        args::DeadLetters::Drop { letters, yes } => {
            if !yes {
                confirm(letters)?;
            }
            settle(format, letters, "drop")
        }
    }
}

fn list(client: &Client, format: Format, module: &str) -> Result<()> {
    let letters: Vec<DeadLetter> =
        client.get(&format!("/rest/{}/dead-letters", segment(module)))?;
    output::print_list(format, &letters, || {
        let rows = letters.iter().map(|letter| {
            let (depot, partition, offset) = (&letter.depot, letter.partition, letter.offset);
            vec![
                letter.id.clone(),
                letter.topology.clone(),
                format!("{depot} {partition}:{offset}"),
                letter.attempts.to_string(),
                letter.error.clone(),
                letter.data.to_string(),
            ]
        });
        columns(
            &["ID", "TOPOLOGY", "RECORD", "ATTEMPTS", "ERROR", "DATA"],
            rows,
        )
    })
}

fn settle(format: Format, letters: &Letters, verb: &str) -> Result<()> {
    let body = if letters.all {
        json!({"all": true})
    } else {
        json!({ "ids": letters.ids })
    };
    let path = format!("/rest/{}/dead-letters/{verb}", segment(&letters.module));
    let (_, answer): (_, Value) =
        Client::new(&letters.server)?.post(&path, &body, Effect::Changes)?;
    let done = if verb == "drop" {
        "dropped"
    } else {
        "replayed"
    };
    output::print(format, &answer, || format!("{done} {}", answer["count"]))
}

fn confirm(letters: &Letters) -> Result<()> {
    let what = if letters.all {
        "every dead letter".to_owned()
    } else {
        letters.ids.join(", ")
    };
    let refused =
        |text: &str| Failure::new(Exit::Refused, text, "add --yes to drop without being asked");
    if !stdin().is_terminal() {
        return Err(refused(
            "dropping dead letters wants a yes, and stdin is not a terminal",
        ));
    }
    eprint!("Drop {what} of {} for good? [y/N] ", letters.module);
    // Without a prompt the question is still there for who types.
    let _ = stderr().flush();
    let mut answer = String::new();
    match stdin().read_line(&mut answer) {
        Ok(_) if answer.trim().eq_ignore_ascii_case("y") => Ok(()),
        _ => Err(refused("nothing was dropped")),
    }
}
