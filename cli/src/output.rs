//! How results look: columns for people, JSON for programs.
//!
//! Relies on comfy-table. What must stay true: the JSON is what the server's HTTP interface
//! answers, so that a script can move from one to the other; nothing else is written to stdout.

use std::io::{BufWriter, ErrorKind, Write, stdout};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::args::Format;
use crate::error::{Exit, Failure, Result};

/// Prints a document in the wanted form.
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce() -> String,
) -> Result<()> {
    match format {
        Format::Table => line(&table()),
        Format::Json => line(&text(value, true)?),
        Format::Jsonl => line(&text(value, false)?),
    }
}

/// Prints a list in the wanted form: one JSON line per item with jsonl.
pub fn print_list<T: Serialize>(
    format: Format,
    items: &[T],
    table: impl FnOnce() -> String,
) -> Result<()> {
    match format {
        Format::Table => line(&table()),
        Format::Json => line(&text(&items, true)?),
        Format::Jsonl => items.iter().try_for_each(|item| line(&text(item, false)?)),
    }
}

/// Writes one line to stdout.
pub fn line(text: &str) -> Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|cause| {
        if cause.kind() == ErrorKind::BrokenPipe {
            // The reader has seen enough (`rama select … | head`): that is no failure.
            std::process::exit(0);
        }
        let text = format!("could not write to stdout: {cause}");
        Failure::new(Exit::Failed, text, "is the reader of the pipe still there?")
    })
}

fn text<T: Serialize>(value: &T, pretty: bool) -> Result<String> {
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    text.map_err(|cause| {
        Failure::new(
            Exit::Failed,
            format!("could not write JSON: {cause}"),
            "report this",
        )
    })
}

/// Columns without lines, in the manner of `ps`.
pub fn columns(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Results of a select: pairs and objects become columns, anything else one line each.
pub fn results(results: &[Value]) -> String {
    let pairs = results
        .iter()
        .all(|value| value.as_array().is_some_and(|pair| pair.len() == 2));
    if pairs && !results.is_empty() {
        let rows = results
            .iter()
            .map(|pair| vec![cell(&pair[0]), cell(&pair[1])]);
        return columns(&["KEY", "VALUE"], rows);
    }
    results.iter().map(cell).collect::<Vec<_>>().join("\n")
}

/// One value in a table: strings bare, anything else as JSON.
pub fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
