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

const DAY_SECONDS: u64 = 24 * 3600;

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

/// Names with their values; those that are empty are left out.
pub fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    let rows = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<(&str, String)> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A moment, in UTC.
pub fn moment(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return String::new();
    }
    let seconds = unix_ms / 1000;
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!(
        "{} {hours:02}:{minutes:02}:{:02}Z",
        day(seconds),
        seconds % 60
    )
}

/// The day of a moment in UTC, as 2026-11-21.
pub fn day(unix_seconds: u64) -> String {
    let mut days = unix_seconds / DAY_SECONDS;
    let mut year = 1970;
    let leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
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

#[cfg(test)]
mod tests;
