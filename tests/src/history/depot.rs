//! What a depot holds against what was appended: W1 (each acknowledged record once) and W2 (order).
//!
//! Relies on records that are told apart by a text of their own, or that a client appends again under the
//! same text when it does not know. What must stay true: a record is lost when it was acknowledged and
//! is not there; no call leaves two, because appends are numbered; nothing is there that was refused,
//! or that nobody appended.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Operation, Outcome};

/// Where the answer says that a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// Appends: the record's text, and where it went if the answer said so.
pub type Appends = [Operation<String, Option<Place>>];

/// A depot as it was read: each partition from offset 0, all of it.
#[derive(Clone, Debug, Default)]
pub struct Contents(pub BTreeMap<u32, Vec<String>>);

impl Contents {
    /// Where each text lies, in order.
    fn places(&self) -> BTreeMap<&str, Vec<Place>> {
        let mut places: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
        for (partition, texts) in &self.0 {
            for (offset, text) in (0u64..).zip(texts) {
                let partition = *partition;
                let place = Place { partition, offset };
                places.entry(text).or_default().push(place);
            }
        }
        places
    }

    /// How many different records there are.
    pub fn distinct(&self) -> u64 {
        self.places().len() as u64
    }
}

/// What became of all calls to append one text.
#[derive(Default)]
struct Calls {
    acknowledged: usize,
    unknown: usize,
    refused: usize,
    said: Vec<Place>,
}

/// W1: every acknowledged record is there, where the answer said; none is there more often than it may
/// have been appended; none is there that was refused or never appended.
pub fn is_taken_once(appends: &Appends, depot: &Contents) -> Vec<String> {
    let mut calls: BTreeMap<&str, Calls> = BTreeMap::new();
    for append in appends {
        let calls = calls.entry(append.call.as_str()).or_default();
        match append.outcome {
            Outcome::Ok(place) => {
                calls.acknowledged += 1;
                calls.said.extend(place);
            }
            Outcome::Failed => calls.refused += 1,
            Outcome::Unknown => calls.unknown += 1,
        }
    }
    let mut places = depot.places();
    let mut wrong = Vec::new();
    for (text, calls) in calls {
        let found = places.remove(text).unwrap_or_default();
        wrong.extend(differs(text, &calls, &found));
    }
    let strangers = places.keys();
    wrong.extend(strangers.map(|text| format!("{text} is there and nobody appended it")));
    wrong
}

/// What is wrong with one text.
fn differs(text: &str, calls: &Calls, found: &[Place]) -> Option<String> {
    let (acknowledged, unknown, refused) = (calls.acknowledged, calls.unknown, calls.refused);
    if found.len() < acknowledged {
        return Some(format!(
            "{text} was acknowledged and is lost: {acknowledged} times, found at {found:?}"
        ));
    }
    if found.len() > acknowledged + unknown {
        return Some(format!(
            "{text} is there {} times, at {found:?}: {acknowledged} calls were acknowledged, {unknown} \
             are unknown, {refused} were refused",
            found.len()
        ));
    }
    let said = calls.said.iter().find(|said| !found.contains(said))?;
    Some(format!(
        "{text} was said to be at {said:?} and is at {found:?}"
    ))
}

/// W2: what one process appended lies in each partition in the order of its calls. A text that was
/// appended again counts where it came first.
pub fn is_in_order(appends: &Appends, depot: &Contents) -> Vec<String> {
    let mut called: Vec<_> = appends.iter().collect();
    called.sort_by_key(|append| append.invoked);
    let mut calls: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    for (number, append) in (0u64..).zip(called) {
        calls
            .entry(append.call.as_str())
            .or_insert((append.process, number));
    }
    let mut wrong = Vec::new();
    for (partition, texts) in &depot.0 {
        let mut last: BTreeMap<u32, (u64, &str)> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for text in texts {
            let Some(&(process, number)) = calls.get(text.as_str()) else {
                continue;
            };
            if !seen.insert(text) {
                continue;
            }
            if let Some((before, earlier)) = last.insert(process, (number, text))
                && before > number
            {
                wrong.push(format!(
                    "partition {partition}: {text} of process {process} lies after {earlier}, \
                     which was appended later"
                ));
            }
        }
    }
    wrong
}
