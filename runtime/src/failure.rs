//! How an event ends early: as a value, whatever the author's code did.
//!
//! Author code calls synchronous functions that have no error to return (a path's `get`), and it
//! may panic. Both unwind to the event boundary, [`guard`], which turns them into an
//! [`EventFailure`]. The process and the task thread go on; the topology decides about retries.
//!
//! What must stay true: a panic of guarded code prints nothing; any other panic is reported by the
//! hook that was installed before.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// Why an event failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventFailure {
    /// A key was accessed on a task that is not its home: the access would have missed the data.
    #[error(
        "key {key} of {pstate} was accessed on task {here}, but lives on task {home}; partition by \
         that key first, or opt out with .unaligned()"
    )]
    WrongTask {
        /// Name of the PState.
        pstate: String,
        /// The top-level key, as JSON.
        key: String,
        /// The task the event ran on.
        here: u32,
        /// The key's home.
        home: u32,
    },
    /// A PState was written by something that does not own it (spec P-1).
    #[error(
        "{pstate} was written by {writer}, but belongs to {owner}; only the topology that \
         declares a PState may write it"
    )]
    NotOwner {
        /// Name of the PState.
        pstate: String,
        /// Who wrote.
        writer: String,
        /// Who may.
        owner: String,
    },
    /// A list was addressed beyond its end.
    #[error("index {index} of a list in {pstate} was written, but the list has {len} elements")]
    OutOfRange {
        /// Name of the PState.
        pstate: String,
        /// The index asked for.
        index: u64,
        /// The length of the list.
        len: u64,
    },
    /// A path was used inside a topology although its PState was never declared there.
    #[error(
        "{pstate} was used without its handle; use what `pstate({pstate})` returned in `define`"
    )]
    Undeclared {
        /// Name of the PState.
        pstate: String,
    },
    /// Stored bytes do not decode as the schema says.
    #[error("could not read an entry of {pstate}: {cause}")]
    Undecodable {
        /// Name of the PState.
        pstate: String,
        /// What was wrong.
        cause: String,
    },
    /// The storage below failed.
    #[error("could not {attempted}: {cause}")]
    Storage {
        /// What was attempted, on what.
        attempted: String,
        /// What went wrong.
        cause: String,
    },
    /// Author code asked for something the running topology does not offer.
    #[error("{message}")]
    Unsupported {
        /// What, and what to do instead.
        message: String,
    },
    /// Author code returned an error, or called [`fail`].
    #[error("{message}")]
    Author {
        /// The error's text.
        message: String,
    },
    /// Author code panicked.
    #[error("panicked at {location}: {message}")]
    Panic {
        /// The panic's message.
        message: String,
        /// File, line and column.
        location: String,
    },
}

impl EventFailure {
    /// A short stable word for metrics, dead letters and JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            EventFailure::WrongTask { .. } => "wrong-task",
            EventFailure::NotOwner { .. } => "not-owner",
            EventFailure::OutOfRange { .. } => "out-of-range",
            EventFailure::Undeclared { .. } => "undeclared",
            EventFailure::Undecodable { .. } => "undecodable",
            EventFailure::Storage { .. } => "storage",
            EventFailure::Unsupported { .. } => "unsupported",
            EventFailure::Author { .. } => "author",
            EventFailure::Panic { .. } => "panic",
        }
    }
}

thread_local! {
    /// How many guards are on this thread's stack.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
    /// Message and place of the panic that is unwinding to the innermost guard.
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Ends the running event with `failure`. Prints nothing.
pub fn raise(failure: EventFailure) -> ! {
    panic::resume_unwind(Box::new(failure))
}

/// Ends the running event as failed by its author, saying why.
pub fn fail(message: impl ToString) -> ! {
    raise(EventFailure::Author {
        message: message.to_string(),
    })
}

/// Runs author code: answers with its result, or with the failure or the panic that ended it.
///
/// State the closure shares with its surroundings may be half changed after a failure: the caller
/// drops the overlay of the event, and nothing else may be shared.
pub fn guard<T>(run: impl FnOnce() -> T) -> Result<T, EventFailure> {
    HOOK.call_once(install_hook);
    GUARDS.with(|guards| guards.set(guards.get() + 1));
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    GUARDS.with(|guards| guards.set(guards.get() - 1));
    outcome.map_err(failure_of)
}

fn install_hook() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if GUARDS.with(Cell::get) == 0 {
            return previous(info);
        }
        PANIC.with(|panic| *panic.borrow_mut() = Some(describe(info)));
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> (String, String) {
    let location = info
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    (message_of(info.payload()), location)
}

/// What a panic said.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "a panic without a message".to_owned(),
    }
}

fn failure_of(payload: Box<dyn Any + Send>) -> EventFailure {
    match payload.downcast::<EventFailure>() {
        Ok(failure) => *failure,
        Err(payload) => {
            let noted = PANIC.with(|panic| panic.borrow_mut().take());
            let (message, location) =
                noted.unwrap_or_else(|| (message_of(&*payload), "an unknown place".to_owned()));
            EventFailure::Panic { message, location }
        }
    }
}

#[cfg(test)]
mod tests;
