//! What clients did and were told, as in Jepsen: histories, and what is checked of them.
//!
//! Reading order: this file (what an operation is), `depot` (W1 and W2 of reliability §4.2), `counter`
//! (W3, W4), `bank` (W5), `session` (W7). Relies on one clock for all who take part: a number that
//! grows with every call and every answer, so that "before" means the same to all. What must stay
//! true: checkers are pure and cost no more than a sort; an operation without an answer may have been
//! done or not; a checker names what is wrong, it never repairs.

pub mod bank;
pub mod counter;
pub mod depot;
pub mod session;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome<A> {
    /// It was done.
    Ok(A),
    /// It was surely not done.
    Failed,
    /// It may have been done.
    Unknown,
}

/// One operation of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation<C, A> {
    /// Who did it. What one process does is in the order of its calls.
    pub process: u32,
    /// When it was called.
    pub invoked: u64,
    /// When the answer came; never, if there was none.
    pub returned: Option<u64>,
    /// What was asked.
    pub call: C,
    /// How it ended.
    pub outcome: Outcome<A>,
}

impl<C, A> Operation<C, A> {
    /// Whether the answer came before `time`, and said that it was done.
    pub fn is_done_before(&self, time: u64) -> bool {
        matches!(self.outcome, Outcome::Ok(_)) && self.returned.is_some_and(|at| at < time)
    }
}

/// The clock of all histories of a test.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// The next moment.
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Writes a history, from any thread.
#[derive(Clone, Debug)]
pub struct Recorder<C, A> {
    clock: Clock,
    operations: Arc<Mutex<Vec<Operation<C, A>>>>,
}

/// A call that was made.
#[derive(Clone, Copy, Debug)]
pub struct Called(usize);

impl<C, A> Recorder<C, A> {
    /// A history that is empty.
    pub fn new(clock: &Clock) -> Recorder<C, A> {
        Recorder {
            clock: clock.clone(),
            operations: Arc::default(),
        }
    }

    fn operations(&self) -> MutexGuard<'_, Vec<Operation<C, A>>> {
        // An operation is whole before the lock is let go.
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a process is about to ask for something. Until it is answered nobody knows.
    pub fn call(&self, process: u32, call: C) -> Called {
        let mut operations = self.operations();
        operations.push(Operation {
            process,
            invoked: self.clock.next(),
            returned: None,
            call,
            outcome: Outcome::Unknown,
        });
        Called(operations.len() - 1)
    }

    /// Says how it ended.
    pub fn returned(&self, called: Called, outcome: Outcome<A>) {
        let mut operations = self.operations();
        let operation = &mut operations[called.0];
        operation.returned = Some(self.clock.next());
        operation.outcome = outcome;
    }

    /// How many calls there were so far.
    pub fn len(&self) -> usize {
        self.operations().len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<C: Clone, A: Clone> Recorder<C, A> {
    /// What was recorded so far, in the order of the calls.
    pub fn history(&self) -> Vec<Operation<C, A>> {
        self.operations().clone()
    }
}

/// Writes a history as JSON lines, for who wants to look at what went wrong.
///
/// # Panics
/// When the file cannot be written: a test wants to know.
pub fn save<C: Serialize, A: Serialize>(path: &Path, history: &[Operation<C, A>]) {
    let mut text = Vec::new();
    for operation in history {
        serde_json::to_writer(&mut text, operation).expect("an operation is plain data");
        text.push(b'\n');
    }
    let written = std::fs::File::create(path).and_then(|mut file| file.write_all(&text));
    written.unwrap_or_else(|error| panic!("could not write {}: {error}", path.display()));
}

/// Fails a test with what is wrong, at most the first twenty of it.
///
/// # Panics
/// When something is wrong.
pub fn verdict(what: &str, wrong: &[String]) {
    let shown = wrong
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n  ");
    assert!(
        wrong.is_empty(),
        "{what}: {} are wrong:\n  {shown}",
        wrong.len()
    );
}
