//! What happened in a simulated world, for whoever reads about a failed run.
//!
//! Relies on nothing. What must stay true: nothing pushes out a fault; anything else is one line for
//! each text, with how often it was told, and only the last of these lines are kept.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::env::Tick;

use super::world::Shared;

/// Lines kept of what is not a fault.
const OTHERS_MAX: usize = 40;

/// Something that happened, once or several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When it happened first, in virtual time.
    pub first: Duration,
    /// When it happened last.
    pub last: Duration,
    /// How often.
    pub count: u64,
    /// What.
    pub text: String,
    /// The numbers of the faults, from 1, if these are faults that the seed planned.
    pub faults: Vec<u32>,
}

/// `12.345678 ms  fault 3: power cut of machine 0`
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>16}  ", millis(self.last))?;
        let numbers: Vec<_> = self.faults.iter().map(u32::to_string).collect();
        match numbers.len() {
            0 => {}
            1 => write!(f, "fault {}: ", numbers[0])?,
            _ => write!(f, "faults {}: ", numbers.join(", "))?,
        }
        f.write_str(&self.text)?;
        match self.count {
            1 => Ok(()),
            count => write!(f, " ({count} times since {})", millis(self.first)),
        }
    }
}

fn millis(time: Duration) -> String {
    let nanos = time.as_nanos();
    format!("{}.{:06} ms", nanos / 1_000_000, nanos % 1_000_000)
}

/// Takes what [`Sim::note`](super::Sim::note) takes, on any thread. The world is locked meanwhile.
#[derive(Clone)]
pub struct Notes(pub(super) Arc<Shared>);

impl Notes {
    /// As [`Sim::note`](super::Sim::note).
    pub fn note(&self, text: impl Into<String>) {
        self.0.world().note(text.into());
    }

    /// All faults and the last of everything else, by the time when each happened last.
    pub fn all(&self) -> Vec<Note> {
        self.0.world().notes.all()
    }
}

/// All notes of one world.
#[derive(Default)]
pub(super) struct NoteBook {
    faults: Vec<Numbered>,
    others: VecDeque<Numbered>,
    /// Of the last one that was taken.
    number: u64,
}

/// A note with the place of its last repetition among all that was told.
struct Numbered {
    number: u64,
    note: Note,
}

impl NoteBook {
    /// Takes something that is not a fault.
    pub(super) fn note(&mut self, now: Tick, text: String) {
        self.number += 1;
        let told = self.others.iter().position(|told| told.note.text == text);
        let told = told.and_then(|index| self.others.remove(index));
        let mut told = told.unwrap_or_else(|| Numbered::new(now, text));
        told.repeat(now, self.number);
        if self.others.len() == OTHERS_MAX {
            self.others.pop_front();
        }
        self.others.push_back(told);
    }

    /// Takes a fault; `number` is there when the seed has planned it. Equal ones are one line when
    /// nothing else was told between them.
    pub(super) fn fault(&mut self, now: Tick, number: Option<u32>, text: String) {
        let before = self.number;
        self.number += 1;
        let again = |last: &Numbered| last.number == before && last.note.text == text;
        if !self.faults.last().is_some_and(again) {
            self.faults.push(Numbered::new(now, text));
        }
        if let Some(last) = self.faults.last_mut() {
            last.repeat(now, self.number);
            last.note.faults.extend(number);
        }
    }

    pub(super) fn all(&self) -> Vec<Note> {
        let mut all: Vec<_> = self.faults.iter().chain(&self.others).collect();
        all.sort_by_key(|told| told.number);
        all.into_iter().map(|told| told.note.clone()).collect()
    }

    /// The numbers of the planned faults that happened.
    pub(super) fn faults(&self) -> impl Iterator<Item = u32> {
        let lines = self.faults.iter();
        lines.flat_map(|told| told.note.faults.iter().copied())
    }
}

impl Numbered {
    /// Not yet told.
    fn new(now: Tick, text: String) -> Numbered {
        let now = Duration::from_nanos(now.0);
        let note = Note {
            first: now,
            last: now,
            count: 0,
            text,
            faults: Vec::new(),
        };
        Numbered { number: 0, note }
    }

    fn repeat(&mut self, now: Tick, number: u64) {
        self.number = number;
        self.note.last = Duration::from_nanos(now.0);
        self.note.count += 1;
    }
}
