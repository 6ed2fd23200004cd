//! The text that is counted: the bundled book or a file, as records.
//!
//! Relies on nothing. What must stay true: a word is never cut in two, so a line that is too long
//! for a record is split only where no letter stands.

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::error::{Exit, Failure, Result};

/// Genesis to Judges of the King James Version; see the README beside it.
const BOOK: &str = include_str!("../../../../modules/word_count/data/kjv.txt");

/// Bytes of one record, roughly.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Bytes of one append call, roughly.
const BATCH_BYTES: usize = 128 << 10;

/// A text.
pub struct Text {
    /// Where it is from.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// How many words it has, counted here.
    pub words: u64,
    /// Its lines.
    pub records: Vec<String>,
}

impl Text {
    /// A file, or the bundled book.
    pub fn load(file: Option<&Path>) -> Result<Text> {
        let Some(path) = file else {
            return Ok(Text::new(
                "the bundled book (King James Version, Genesis to Judges)",
                BOOK,
            ));
        };
        let shown = path.display();
        let bytes = std::fs::read(path).map_err(|cause| {
            let text = format!("could not read {shown}: {cause}");
            let missing = cause.kind() == std::io::ErrorKind::NotFound;
            let exit = if missing {
                Exit::NotFound
            } else {
                Exit::Failed
            };
            Failure::new(
                exit,
                text,
                "give a text file with --file, or none for the bundled book",
            )
        })?;
        let text = String::from_utf8(bytes).map_err(|cause| {
            let at = cause.utf8_error().valid_up_to();
            let text = format!("{shown} is not UTF-8: byte {at} cannot be read");
            Failure::new(Exit::Failed, text, "convert it: iconv -t utf-8")
        })?;
        Ok(Text::new(&shown.to_string(), &text))
    }

    fn new(name: &str, text: &str) -> Text {
        let mut records = Vec::new();
        text.lines()
            .for_each(|line| split(line, RECORD_BYTES_MAX, &mut records));
        let words = text
            .split(|char: char| !char.is_alphabetic())
            .filter(|word| !word.is_empty());
        let words = words.count() as u64;
        Text {
            name: name.to_owned(),
            bytes: text.len() as u64,
            words,
            records,
        }
    }

    /// The records in groups for one call each.
    pub fn batches(&self) -> impl Iterator<Item = &[String]> {
        let mut rest = &self.records[..];
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let count = rest.iter().take_while(|record| {
                let before = bytes;
                bytes += record.len() + 16;
                before < BATCH_BYTES
            });
            let (batch, tail) = rest.split_at(count.count());
            rest = tail;
            (!batch.is_empty()).then_some(batch)
        })
    }
}

/// Splits a line at the last place before `max` bytes where no word stands, or at the first after.
fn split(line: &str, max: usize, records: &mut Vec<String>) {
    let mut rest = line;
    while rest.len() > max {
        let gaps = || {
            rest.char_indices()
                .filter(|(_, char)| !char.is_alphabetic())
        };
        let before = gaps().take_while(|(at, _)| *at <= max).last();
        let Some((at, gap)) = before.or_else(|| gaps().next()) else {
            break;
        };
        let (head, tail) = rest.split_at(at + gap.len_utf8());
        records.push(head.to_owned());
        rest = tail;
    }
    records.push(rest.to_owned());
}
