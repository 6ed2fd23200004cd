//! The task thread's side of a select.
//!
//! Relies on one executor: a plan is evaluated on one state of its task. What must stay true:
//! clients see applied data only (P-29).

use rama_io::Env;

use crate::context::ExternalView;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{self, Limits, Plan, SelectError};
use crate::task_thread::Thread;

/// Evaluates a plan on the committed state of a task.
pub(crate) fn evaluate<E: Env>(
    thread: &Thread<E>,
    task: u32,
    pstate: u16,
    plan: &Plan,
) -> Result<Vec<u8>> {
    let layout = &*thread.layout;
    let view = ExternalView {
        store: thread.local(task).partition.store(),
        layout,
    };
    let definition = &layout.definition.pstates[usize::from(pstate)];
    plan::evaluate(&view, definition.space, plan, Limits::default()).map_err(|error| {
        let kind = match &error {
            SelectError::Failed(_) => ErrorKind::Storage,
            SelectError::Key(_) | SelectError::Record(_) => ErrorKind::Corrupt,
            _ => ErrorKind::Invalid,
        };
        let text = format!(
            "could not select from {} of {}",
            definition.name, layout.module
        );
        Error::new(kind, text).caused_by(error)
    })
}
