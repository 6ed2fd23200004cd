//! `rama append`: one record, or one per line of stdin.
//!
//! Relies on `POST …/append`. What must stay true: with `-` the records are sent in order, each
//! after the answer to the one before, and the first failure ends the command naming its line.

use std::io::stdin;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{object_path, parse_json};
use crate::args::{Ack, Append, Format};
use crate::client::{Client, Effect};
use crate::error::{Exit, Failure, Result};
use crate::output;

#[derive(Serialize)]
struct Appended {
    returns: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

pub fn run(client: &Client, format: Format, args: &Append) -> Result<()> {
    let path = format!("{}/append", object_path(&args.depot, "depot")?);
    if args.data != "-" {
        let data = parse_json(&args.data, "record")?;
        let appended = append(client, &path, args.ack, &data)?;
        return output::print(format, &appended, || table(&appended));
    }
    for (index, line) in stdin().lines().enumerate() {
        let line = line.map_err(|cause| {
            Failure::new(
                Exit::Failed,
                format!("could not read stdin: {cause}"),
                "is it UTF-8?",
            )
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let sent = parse_json(&line, "record")
            .and_then(|data| append(client, &path, args.ack, &data))
            .map_err(|failure| failure.at(&format!("line {}", index + 1)))?;
        match format {
            Format::Table => output::line(&table(&sent))?,
            // Records come one by one, so there is no document to close.
            Format::Json | Format::Jsonl => output::print(Format::Jsonl, &sent, String::new)?,
        }
    }
    Ok(())
}

fn append(client: &Client, path: &str, ack: Ack, data: &Value) -> Result<Appended> {
    let level = match ack {
        Ack::Ack => "ack",
        Ack::AppendAck => "appendAck",
        Ack::None => "none",
    };
    let body = json!({"data": data, "ackLevel": level});
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
