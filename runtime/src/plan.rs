//! What a client asks of one partition: a physical plan, made by a typed or a JSON path.
//!
//! The client builds a [`Selection`] and sends the bytes of its [`Plan`] to the task its route
//! names; the task evaluates the plan with [`evaluate`] against its committed state and answers
//! with rows; the client decodes them. Relies on the key space of `schema`.
//!
//! What must stay true: plans come from the network, so decoding believes nothing, and evaluation
//! is bounded by [`Limits`]; a plan reads one partition only, as of one moment.

mod encoding;
mod evaluate;
mod function;
mod several;

use std::sync::Arc;

use rama_wire::{KeyError, KeyShape, RecordError};

use crate::failure::EventFailure;
use crate::path::{Cursor, Span};

pub use encoding::{Row, rows};
pub use evaluate::{Evaluation, Ground, Limits, evaluate, evaluate_on};
pub(crate) use function::Call;
pub use function::{Applied, Callable, Function, FunctionDef, Functions, Role};
pub use several::{Viewed, ViewedValue};

pub(crate) use encoding::answer;

/// A physical read of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// One row with the value of this entry, or no row.
    Get {
        /// The entry's key.
        key: Vec<u8>,
    },
    /// One row with a byte: 1 when something is there.
    Exists {
        /// The location's key.
        key: Vec<u8>,
        /// Whether one entry decides; otherwise any key that starts the same.
        single: bool,
    },
    /// One row with the size a header holds, as a number.
    Len {
        /// The header's key.
        key: Vec<u8>,
    },
    /// One row with the number of elements a scan visits.
    Count(Scan),
    /// One row for each element.
    Scan(Scan),
    /// The rows of a plan for values, each through functions that the module registers.
    Through {
        /// A [`Plan::Get`] or a [`Plan::Scan`] of values.
        plan: Box<Plan>,
        /// What each value goes through, in order.
        calls: Vec<Call>,
    },
    /// One row for each plan, with its answer: all of them as of one moment.
    Several(Vec<Plan>),
}

/// Some elements of a structure, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Length of the structure's own prefix, which rows leave out.
    pub(crate) prefix_len: u32,
    pub(crate) span: Span,
    /// Whether the rows are turned round at the end.
    pub(crate) reverse: bool,
    pub(crate) take: Take,
    /// When the elements are structures: where their keys end.
    pub(crate) structure: Option<KeyShape>,
}

/// What a scan puts in its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Keys,
    Values,
    Entries,
}

/// What is done with the key and the value of each element.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), SelectError> + 'a;

/// A read that a client can make, with the type of its answer.
///
/// Paths to a value and ranges are selectable; so is what the `select_…` methods of structures
/// return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be selected by a client",
    label = "not a bounded read",
    note = "a subindexed structure is never sent whole: add `.range(a..b)` or `.key(&k)`",
    note = "for its size there is `.select_len()`; for all of a small one, `.all()`",
    note = "of a range whose elements are structures, select the keys: `.range(a..b).select_keys()`"
)]
pub trait Selectable {
    /// What the read answers.
    type Output;

    /// The read, ready to be sent.
    fn selection(&self) -> Selection<Self::Output>;
}

/// A read ready to be sent: where, what, and how to understand the answer.
pub struct Selection<O> {
    pstate: &'static str,
    route: Option<Vec<u8>>,
    plan: Plan,
    /// Why it cannot be sent, if so.
    fault: Option<SelectError>,
    decode: Decode<O>,
}

type Decode<O> = Arc<dyn Fn(&[u8]) -> Result<O, SelectError> + Send + Sync>;

impl<O> Clone for Selection<O> {
    fn clone(&self) -> Self {
        Selection {
            route: self.route.clone(),
            plan: self.plan.clone(),
            fault: self.fault.clone(),
            decode: self.decode.clone(),
            ..*self
        }
    }
}

impl<O> Selection<O> {
    pub(crate) fn new(
        cursor: &Cursor,
        plan: Plan,
        decode: impl Fn(&[u8]) -> Result<O, SelectError> + Send + Sync + 'static,
    ) -> Selection<O> {
        let route = cursor.route().map(<[u8]>::to_vec);
        Selection {
            pstate: cursor.pstate(),
            route,
            plan,
            fault: None,
            decode: Arc::new(decode),
        }
    }

    /// Name of the PState.
    pub fn pstate(&self) -> &'static str {
        self.pstate
    }

    /// The encoded key whose home has the data. `None` when the path does not begin with a key:
    /// fine for a global PState (task 0) or a single task, otherwise an error (spec P-33).
    pub fn route(&self) -> Option<&[u8]> {
        self.route.as_deref()
    }

    /// What to evaluate there.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether it can be sent: several paths lead to one partition of one PState.
    pub fn check(&self) -> Result<(), SelectError> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    /// What understands the answers to this read.
    pub(crate) fn decoder(&self) -> Decode<O> {
        self.decode.clone()
    }

    /// Understands what [`evaluate`] answered.
    pub fn decode(&self, answer: &[u8]) -> Result<O, SelectError> {
        (self.decode)(answer)
    }
}

impl<O> Selectable for Selection<O> {
    type Output = O;

    fn selection(&self) -> Selection<O> {
        self.clone()
    }
}

/// A plan could not be made, evaluated or understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The bytes are not a plan, or one no client makes.
    #[error("could not decode a plan: {what}")]
    BadPlan {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The bytes are not an answer.
    #[error("could not decode the answer to a select: {what}")]
    BadAnswer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The plan names a function that the module does not register.
    #[error(
        "could not call function {name}: the module registers {known}; register it in define, \
         m.function({name}, …), or update the module"
    )]
    NoFunction {
        /// The name.
        name: String,
        /// The names of those it registers.
        known: String,
    },
    /// The function is registered with other types.
    #[error(
        "could not call function {name}: it is registered as {registered}; build the client with \
         the constant that the running module has"
    )]
    OtherFunction {
        /// The name.
        name: String,
        /// Its types where it is registered.
        registered: String,
    },
    /// Several paths do not lead to one partition of one PState.
    #[error("{what}; select them one by one")]
    Apart {
        /// How they differ.
        what: String,
    },
    /// The answer would exceed a limit.
    #[error(
        "the selection has more than {limit} {unit}; select a smaller range, or page through it \
         with first_n and the last key seen"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// A path that must lead to one value leads to none, or to several.
    #[error("the path leads to {count} values; a proxy follows exactly one")]
    NotOne {
        /// To how many.
        count: usize,
    },
    /// A key in the answer does not decode.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A value in the answer does not decode.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Reading failed.
    #[error(transparent)]
    Failed(#[from] EventFailure),
}

/// The answer of a plan that counts.
pub(crate) fn count(answer: &[u8]) -> Result<u64, SelectError> {
    match rows(answer)?.as_slice() {
        [(_, count)] => {
            (*count)
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| SelectError::BadAnswer {
                    what: "a count of a wrong length",
                })
        }
        _ => Err(SelectError::BadAnswer {
            what: "not exactly one row",
        }),
    }
}

/// The answer of a plan that asks whether.
pub(crate) fn flag(answer: &[u8]) -> Result<bool, SelectError> {
    match rows(answer)?.as_slice() {
        [(_, [0])] => Ok(false),
        [(_, [1])] => Ok(true),
        _ => Err(SelectError::BadAnswer {
            what: "neither yes nor no",
        }),
    }
}

#[cfg(test)]
mod tests;
