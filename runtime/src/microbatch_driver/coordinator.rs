//! The coordinator loop of a microbatch topology, on the task thread of task 0.
//!
//! Relies on `rama_core::microbatch::Coordinator`. It wakes on messages, on depot ends (there is no
//! polling: an append rings it) and on the machine's own deadlines. What must stay true: ledgers
//! are appended in the order the machine wants them (`persist`), with the dead letters in the same
//! entry.

mod persist;

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::{Either, select};
use rama_core::ids::MicrobatchId;
use rama_core::microbatch::{
    Coordinator, CoordinatorEffect, CoordinatorInput, CoordinatorOptions, Ledger,
};
use rama_core::time::Now;
use rama_io::Env;

use crate::category_queue::Queue;
use crate::message::{Message, Reply};
use crate::task_thread::Thread;

use persist::{Persist, Persists};

/// What reaches the coordinator loop.
pub(crate) enum CoordinatorEvent {
    Input(CoordinatorInput),
    Pause(Reply<()>),
    Resume(Reply<()>),
}

/// The coordinator of one topology.
pub(crate) struct Coordinating {
    pub(crate) topology: u16,
    pub(crate) events: Queue<CoordinatorEvent>,
    pausing: RefCell<Vec<Reply<()>>>,
    persists: Persists,
}

impl Coordinating {
    pub(crate) fn new(topology: u16) -> Coordinating {
        Coordinating {
            topology,
            events: Queue::default(),
            pausing: RefCell::default(),
            persists: Persists::default(),
        }
    }
}

/// Runs until the task thread stops.
pub(crate) async fn run<E: Env>(
    thread: Rc<Thread<E>>,
    me: Rc<Coordinating>,
    options: CoordinatorOptions,
    ledger: Option<Ledger>,
) {
    let mut machine = Coordinator::new(options);
    let now = || Now(thread.env.now().0);
    let seed = thread.env.random_u64();
    machine.on_input(now(), CoordinatorInput::Boot { ledger, seed });
    loop {
        handle_effects(&thread, &me, &mut machine);
        publish(&thread, &me, &machine);
        if let Some(event) = me.events.pop() {
            on_event(&me, &mut machine, now(), event);
            continue;
        }
        match machine.deadline() {
            None => me.events.ready().await,
            Some(due) if due <= now() => {
                machine.on_deadline(now());
                thread.env.yield_now().await;
            }
            Some(due) => {
                let ready = std::pin::pin!(me.events.ready());
                let sleep = std::pin::pin!(thread.env.sleep(due.since(now())));
                if let Either::Right(_) = select(ready, sleep).await {
                    machine.on_deadline(now());
                }
            }
        }
    }
}

fn on_event(me: &Coordinating, machine: &mut Coordinator, now: Now, event: CoordinatorEvent) {
    match event {
        CoordinatorEvent::Input(input) => machine.on_input(now, input),
        CoordinatorEvent::Pause(reply) => {
            me.pausing.borrow_mut().push(reply);
            machine.on_input(now, CoordinatorInput::Pause);
        }
        CoordinatorEvent::Resume(reply) => {
            machine.on_input(now, CoordinatorInput::Resume);
            let _ = reply.send(Ok(()));
        }
    }
}

fn handle_effects<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Coordinating>,
    machine: &mut Coordinator,
) {
    let topology = me.topology;
    while let Some(effect) = machine.poll_effect() {
        match effect {
            CoordinatorEffect::Persist {
                token,
                ledger,
                dead_letters,
            } => {
                let persist = Persist {
                    token,
                    ledger,
                    dead_letters,
                };
                persist::order(thread, me, persist);
            }
            CoordinatorEffect::Send { task, message } => {
                let task = task.0;
                thread.send(
                    task,
                    Message::ToParticipant {
                        topology,
                        task,
                        message,
                    },
                );
            }
            CoordinatorEffect::Committed {
                id: MicrobatchId(id),
                processed,
            } => {
                let name = &thread.layout.topologies[usize::from(topology)].name;
                tracing::debug!(topology = %name, id, processed, "microbatch committed");
                thread
                    .metrics
                    .on_microbatch_committed(topology, id, processed);
            }
            CoordinatorEffect::Paused => {
                thread.metrics.set_paused(topology, true);
                for reply in me.pausing.take() {
                    let _ = reply.send(Ok(()));
                }
            }
            CoordinatorEffect::Halt { task, text } => {
                let name = &thread.layout.topologies[usize::from(topology)].name;
                tracing::error!(topology = %name, task = task.0, %text, "microbatch halted");
                thread.metrics.on_failure(topology, &text);
            }
        }
    }
}

fn publish<E: Env>(thread: &Thread<E>, me: &Coordinating, machine: &Coordinator) {
    thread
        .metrics
        .set_microbatch(&thread.layout, me.topology, &machine.status());
}
