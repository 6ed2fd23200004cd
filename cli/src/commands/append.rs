//! `rama append`: one record, or one per line of stdin.
//!
//! Relies on `POST …/append`. What must stay true: with `-` the records are sent in order, each batch
//! (one line, unless asked otherwise) after the answers to the one before; the first failure ends the
//! command, naming its line; every answer that came is printed.

use std::io::stdin;

use rama_gateway::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{object_path, parse_json};
use crate::args::{Ack, Append, Format};
use crate::client::{Client, Effect};
use crate::error::{Exit, Failure, Result};
use crate::output;

#[derive(Serialize, Deserialize)]
struct Appended {
    returns: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

/// What the server says of one record of a batch.
#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    Failed { problem: Problem },
    Appended(Appended),
}

pub fn run(client: &Client, format: Format, args: &Append) -> Result<()> {
    let path = format!("{}/append", object_path(&args.depot, "depot")?);
    if args.data != "-" {
        let data = parse_json(&args.data, "record")?;
        let appended = append(client, &path, args.ack, &data)?;
        return output::print(format, &appended, || table(&appended));
    }
    let mut batch = Vec::new();
    for (index, line) in stdin().lines().enumerate() {
        let number = index + 1;
        let line = line.map_err(|cause| {
            let text = format!("could not read stdin: {cause}");
            Failure::new(Exit::Failed, text, "is it UTF-8?")
        })?;
        if line.trim().is_empty() {
            continue;
        }
        match parse_json(&line, "record") {
            Ok(record) => batch.push((number, record)),
            Err(failure) => {
                send(client, format, &path, args.ack, &mut batch)?;
                return Err(failure.at(&format!("line {number}")));
            }
        }
        if batch.len() == usize::from(args.batch) {
            send(client, format, &path, args.ack, &mut batch)?;
        }
    }
    send(client, format, &path, args.ack, &mut batch)
}

/// Sends records with the numbers of their lines, and prints the answers.
fn send(
    client: &Client,
    format: Format,
    path: &str,
    ack: Ack,
    batch: &mut Vec<(usize, Value)>,
) -> Result<()> {
    let (lines, records): (Vec<usize>, Vec<Value>) = batch.drain(..).unzip();
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
        return Ok(());
    };
    if let [record] = &records[..] {
        let appended = append(client, path, ack, record);
        return print(
            format,
            &appended.map_err(|failure| failure.at(&format!("line {first}")))?,
        );
    }
    let body = json!({"records": records, "ackLevel": level(ack)});
    let sent = client.post(path, &body, Effect::Changes);
    let place = format!("lines {first} to {last}");
    let (_, outcomes): (_, Vec<Outcome>) = sent.map_err(|failure| failure.at(&place))?;
    let mut failed = None;
    for (line, outcome) in lines.iter().zip(outcomes) {
        match outcome {
            Outcome::Appended(appended) => print(format, &appended)?,
            Outcome::Failed { problem } => {
                let place = format!("line {line} (the others to line {last} were sent too)");
                failed.get_or_insert(Failure::from_problem(problem).at(&place));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

fn print(format: Format, appended: &Appended) -> Result<()> {
    match format {
        Format::Table => output::line(&table(appended)),
        // Records come one by one, so there is no document to close.
        Format::Json | Format::Jsonl => output::print(Format::Jsonl, appended, String::new),
    }
}

fn level(ack: Ack) -> &'static str {
    match ack {
        Ack::Ack => "ack",
        Ack::AppendAck => "appendAck",
        Ack::None => "none",
    }
}

fn append(client: &Client, path: &str, ack: Ack, data: &Value) -> Result<Appended> {
    let body = json!({"data": data, "ackLevel": level(ack)});
    let (headers, returns) = client.post(path, &body, Effect::Changes)?;
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let partition = number("rama-partition").and_then(|partition| partition.try_into().ok());
    Ok(Appended {
        returns,
        partition,
        offset: number("rama-offset"),
    })
}

fn table(appended: &Appended) -> String {
    let mut text = match (appended.partition, appended.offset) {
        (Some(partition), Some(offset)) => {
            format!("appended at partition {partition}, offset {offset}")
        }
        _ => "handed over".to_owned(),
    };
    for (topology, value) in &appended.returns {
        text.push_str(&format!("\n{topology} returned {value}"));
    }
    text
}
