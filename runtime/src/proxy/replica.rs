//! A follower's own copy of the value, as bytes.
//!
//! Relies on `footprint` for what the value is made of. What must stay true: after each update the
//! copy's checksum, computed here from what is here, equals the one that came with it (P-43); an
//! update that does not fit leaves the copy as it was and is an error; changes applied to the copy
//! before give the copy after.

use std::collections::BTreeMap;

use super::footprint::{Footprint, Form};
use super::update::{BadUpdate, Change, Update, Whole, answer_hash, row_hash};
use crate::plan;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The value as the last update left it.
#[derive(Clone)]
pub(crate) struct Replica {
    form: Form,
    held: Option<Held>,
    checksum: u64,
}

#[derive(Clone)]
enum Held {
    Rows(Rows),
    Answer(Vec<u8>),
}

/// What an update did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The value is what it is; what came before may have been missed.
    Resync,
    /// These rows are not as before.
    Rows {
        rows: Vec<RowChange>,
        /// Whether a commit said so; otherwise two whole values were compared.
        told: bool,
    },
    /// The answer is another one.
    Answer,
    /// Nothing.
    Nothing,
}

/// A row before and after.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RowChange {
    pub(crate) key: Vec<u8>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
}

impl Replica {
    /// Nothing yet: the first update is a whole value.
    pub(crate) fn of(footprint: &Footprint) -> Replica {
        Replica {
            form: footprint.value,
            held: None,
            checksum: 0,
        }
    }

    /// The checksum of the value.
    pub(crate) fn checksum(&self) -> u64 {
        self.checksum
    }

    /// How many rows the value has.
    pub(crate) fn len(&self) -> u64 {
        match &self.held {
            Some(Held::Rows(rows)) => rows.len() as u64,
            _ => 0,
        }
    }

    /// Whether the value begins with the greatest key.
    pub(crate) fn is_descending(&self) -> bool {
        matches!(
            self.form,
            Form::Rows {
                descending: true,
                ..
            }
        )
    }

    /// Of a list: the index that its first row has, or had before these changes.
    pub(crate) fn first_index(&self, changes: &[RowChange]) -> Option<u64> {
        let Some(Held::Rows(rows)) = &self.held else {
            return None;
        };
        let here = rows.keys().next();
        let gone = changes.first().map(|row| &row.key);
        index(here.into_iter().chain(gone).min()?)
    }

    /// The value as the plan would answer it.
    pub(crate) fn answer(&self) -> Vec<u8> {
        let Form::Rows { descending, .. } = self.form else {
            return match &self.held {
                Some(Held::Answer(answer)) => answer.clone(),
                _ => plan::answer(&[]),
            };
        };
        let Some(Held::Rows(rows)) = &self.held else {
            return plan::answer(&[]);
        };
        let row = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let mut rows: Vec<_> = rows.iter().map(row).collect();
        if descending {
            rows.reverse();
        }
        plan::answer(&rows)
    }

    /// Takes an update over.
    ///
    /// # Errors
    /// When it does not fit what is here; then nothing has changed.
    pub(crate) fn apply(&mut self, update: &Update) -> Result<Applied, BadUpdate> {
        match update {
            Update::Whole {
                why,
                checksum,
                answer,
            } => self.replace(*why, *checksum, answer),
            Update::Changes { checksum, changes } => self.change(*checksum, changes),
        }
    }

    fn replace(&mut self, why: Whole, checksum: u64, answer: &[u8]) -> Result<Applied, BadUpdate> {
        let (held, found) = match self.form {
            Form::Answer => (Held::Answer(answer.to_vec()), answer_hash(answer)),
            Form::Rows { .. } => {
                let rows = rows(answer)?;
                let sum = rows.iter().fold(0_u64, |sum, (key, value)| {
                    sum.wrapping_add(row_hash(key, value))
                });
                (Held::Rows(rows), sum)
            }
        };
        check(found, checksum)?;
        self.checksum = checksum;
        let before = self.held.replace(held);
        Ok(match (why, before, &self.held) {
            (Whole::Resync, ..) | (_, None, _) => Applied::Resync,
            (_, Some(Held::Rows(old)), Some(Held::Rows(new))) => {
                let rows = compare(&old, new);
                match rows.is_empty() {
                    true => Applied::Nothing,
                    false => Applied::Rows { rows, told: false },
                }
            }
            (_, Some(Held::Answer(old)), Some(Held::Answer(new))) if old == *new => {
                Applied::Nothing
            }
            _ => Applied::Answer,
        })
    }

    fn change(&mut self, checksum: u64, changes: &[Change]) -> Result<Applied, BadUpdate> {
        let Some(Held::Rows(rows)) = &mut self.held else {
            return Err(BadUpdate("changes of a value that was never told"));
        };
        let mut sum = self.checksum;
        let mut done = Vec::with_capacity(changes.len());
        for (key, new) in changes {
            let old = match new {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
            if let Some(old) = &old {
                sum = sum.wrapping_sub(row_hash(key, old));
            }
            if let Some(new) = new {
                sum = sum.wrapping_add(row_hash(key, new));
            }
            let (key, new) = (key.clone(), new.clone());
            done.push(RowChange { key, old, new });
        }
        if let Err(error) = check(sum, checksum) {
            for RowChange { key, old, .. } in done.into_iter().rev() {
                match old {
                    Some(old) => rows.insert(key, old),
                    None => rows.remove(&key),
                };
            }
            return Err(error);
        }
        self.checksum = checksum;
        done.retain(|row| row.old != row.new);
        Ok(match done.is_empty() {
            true => Applied::Nothing,
            false => Applied::Rows {
                rows: done,
                told: true,
            },
        })
    }
}

/// The index that is the key of a list's row.
pub(crate) fn index(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

fn check(found: u64, told: u64) -> Result<(), BadUpdate> {
    match found == told {
        true => Ok(()),
        false => Err(BadUpdate(
            "its checksum is not that of the value it leads to",
        )),
    }
}

fn rows(answer: &[u8]) -> Result<Rows, BadUpdate> {
    let rows = plan::rows(answer).map_err(|_| BadUpdate("its rows make no sense"))?;
    let count = rows.len();
    let own = |(key, value): plan::Row<'_>| (key.to_vec(), value.to_vec());
    let rows: Rows = rows.into_iter().map(own).collect();
    match rows.len() == count {
        true => Ok(rows),
        false => Err(BadUpdate("two rows with one key")),
    }
}

/// The rows that are not the same in both, in order of keys.
fn compare(old: &Rows, new: &Rows) -> Vec<RowChange> {
    let mut keys: Vec<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let row = |key: &Vec<u8>| RowChange {
        key: key.clone(),
        old: old.get(key).cloned(),
        new: new.get(key).cloned(),
    };
    let rows = keys.into_iter().map(row);
    rows.filter(|row| row.old != row.new).collect()
}

#[cfg(test)]
mod tests;
