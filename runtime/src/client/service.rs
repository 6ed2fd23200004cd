//! The task thread's side of client requests.
//!
//! Relies on one executor: a request is answered from one state of its task. What must stay true:
//! clients see applied data only (P-29), and a failing read never reaches another request.

use std::rc::Rc;

use rama_io::{Category, Env};

use crate::context::ExternalView;
use crate::error::{Error, ErrorKind, Result};
use crate::message::ClientRequest;
use crate::plan::{Limits, Plan, SelectError, evaluate};
use crate::task_thread::Thread;

/// Answers one request.
pub(crate) fn serve<E: Env>(thread: &Rc<Thread<E>>, request: ClientRequest) {
    match request {
        ClientRequest::Append(request) => crate::depot::append(thread, request),
        ClientRequest::DepotInfo { task, depot, reply } => {
            let log = thread.layout.depots[usize::from(depot)].log;
            let _ = reply.send(Ok(thread.local(task).partition.log_range(log)));
        }
        ClientRequest::Select {
            task,
            pstate,
            plan,
            reply,
        } => {
            thread.metrics.on_select(thread.index);
            let _ = reply.send(select(thread, task, pstate, &plan));
        }
        ClientRequest::Watch {
            task,
            pstate,
            plan,
            subscription,
        } => {
            thread.local(task).watches.add(pstate, plan, subscription);
        }
        ClientRequest::ReadDepot {
            task,
            depot,
            from,
            to,
            reply,
        } => {
            let thread_of = thread.clone();
            thread.env.spawn(Category::Client, async move {
                let read = crate::depot::read(&thread_of, task, depot, from, to).await;
                let _ = reply.send(read);
            });
        }
        ClientRequest::DeadLetters { task, request } => {
            let thread_of = thread.clone();
            thread.env.spawn(Category::Client, async move {
                crate::dead_letters::serve(&thread_of, task, request).await;
            });
        }
    }
}

/// Evaluates a plan on the committed state of a task.
pub(crate) fn select<E: Env>(
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
    evaluate(&view, definition.space, plan, Limits::default()).map_err(|error| {
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
