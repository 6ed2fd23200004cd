//! The task thread's side of a select.
//!
//! Relies on one executor: a page of a plan is evaluated on one state of its task. A select that has
//! more than one page goes on over a snapshot of that state, and other events run in between (spec
//! P-25). What must stay true: clients see applied data only (P-29), and one moment of it (P-35).

use std::rc::Rc;

use rama_io::{Category, Env};
use rama_storage::lsm::Read;

use crate::context::ExternalView;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::EventFailure;
use crate::limits;
use crate::message::Reply;
use crate::plan::{Evaluation, Ground, Limits, Plan, SelectError, evaluate_on};
use crate::task_thread::Thread;

/// Evaluates a plan on the committed state of a task, without a pause.
pub(crate) fn evaluate<E: Env>(
    thread: &Thread<E>,
    task: u32,
    pstate: u16,
    plan: &Plan,
    limits: Limits,
) -> Result<Vec<u8>> {
    let store = thread.local(task).partition.store();
    on(thread, pstate, store, |ground| {
        evaluate_on(Ground { limits, ..ground }, plan)
    })
}

/// Answers a client: at once when one page is all, otherwise page by page.
pub(crate) fn serve<E: Env>(
    thread: &Rc<Thread<E>>,
    task: u32,
    pstate: u16,
    plan: &Plan,
    reply: Reply<Vec<u8>>,
) {
    thread.metrics.on_select(thread.index);
    let mut evaluation = Evaluation::new(plan);
    let page = move |thread: &Thread<E>| thread.tuning().page_elements[usize::from(pstate)];
    let store = thread.local(task).partition.store();
    let elements = match thread.paged_selects.get() < limits::PAGED_SELECTS_MAX {
        true => page(thread),
        false => u64::MAX,
    };
    let first = on(thread, pstate, store, |ground| {
        evaluation.page(ground, elements)
    });
    if let Some(answer) = first.transpose() {
        let _ = reply.send(answer);
        return;
    }
    // Nothing was applied since the first page was read.
    let snapshot = store.snapshot();
    let thread_of = thread.clone();
    thread.paged_selects.set(thread.paged_selects.get() + 1);
    thread.env.spawn(Category::Client, async move {
        let thread = thread_of;
        let answer = loop {
            thread.env.yield_now().await;
            if reply.is_canceled() {
                break None;
            }
            let elements = page(&thread);
            let next = on(&thread, pstate, &snapshot, |ground| {
                evaluation.page(ground, elements)
            });
            if let Some(answer) = next.transpose() {
                break Some(answer);
            }
        };
        thread.paged_selects.set(thread.paged_selects.get() - 1);
        if let Some(answer) = answer {
            let _ = reply.send(answer);
        }
    });
}

/// Evaluates on a state of a task, and says of a failure what was attempted.
fn on<E: Env, T>(
    thread: &Thread<E>,
    pstate: u16,
    store: &impl Read,
    evaluate: impl FnOnce(Ground<'_>) -> Result<T, SelectError>,
) -> Result<T> {
    let layout = &*thread.layout;
    let view = ExternalView { store, layout };
    let definition = &layout.definition.pstates[usize::from(pstate)];
    let ground = Ground {
        read: &view,
        space: definition.space,
        functions: &layout.definition.functions,
        limits: Limits::default(),
    };
    evaluate(ground).map_err(|error| {
        let kind = match &error {
            SelectError::Failed(EventFailure::Panic { .. } | EventFailure::Author { .. }) => {
                ErrorKind::Rejected
            }
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

#[cfg(test)]
mod tests;
