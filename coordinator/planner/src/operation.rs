//! Operations on modules: launch and destroy, as machines whose whole state is in the metastore.
//!
//! Relies on the rules of spec operations §4.0: (1) the intent is written by compare-and-swap
//! before any effect ([`begin_launch`], [`begin_destroy`] in `begin`); (2) every step is
//! idempotent: it looks at what is there and writes what is missing; (3) every step that waits has
//! a deadline, after which a launch is undone and a destruction goes on without the nodes that are
//! gone; (4) a launch can be cancelled until its targets are switched; (5) the outcome is stored,
//! with an entry in the module's log.
//!
//! A [`Transition`] drives one operation. It keeps nothing that matters: `next` decides from the
//! view alone, so a conductor that starts resumes at any point. Taking an operation up changes its
//! record (`attempts`, `term`), and every later write compares the record's revision: a conductor
//! that was given up for dead writes nothing any more, and lets go when it sees the later term.
//! What must stay true: at most one operation per module is in progress; supervisors see an
//! assignment only when all of it is written; a module is `running` only when all its workers are
//! registered and all its task groups led.
//!
//! ```text
//! launch   (intent) ─► Assign ─► Start ─► Elect ─► Open ─► Done, running
//!                        └────────┴─────────┴── deadline, cancel ─► Undo ─► Done, not alive
//! destroy  (intent) ─► Stop ─► Done, forgotten
//! ```

mod begin;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use rama_core::time::Now;

pub use begin::{Beginning, LaunchRequest, Refusal, begin_destroy, begin_launch, plan_launch};
use steps::{Next, Placed};

use crate::ids::OperationId;
use crate::limits::{ELECT_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT};
use crate::mutants::{self, Mutant};
use crate::place::Scheduler;
use crate::records::{Outcome, Step};
use crate::store::{Compare, Key, Txn, Written};
use crate::view::View;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The view may have changed.
    Looked,
    /// The answer to `Write`.
    Written {
        /// Of which write.
        token: u64,
        /// What became of it.
        result: Written,
    },
    /// The answer to `Relist`: the view holds a listing taken after it.
    Relisted,
    /// The operator wants it undone.
    Cancel {
        /// Who and why.
        reason: String,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Do a transaction and answer with `Written`.
    Write {
        /// Names the write.
        token: u64,
        /// The transaction.
        txn: Txn,
    },
    /// List everything anew and answer with `Relisted`: what is known may be wrong.
    Relist,
    /// It has ended and the outcome is stored; the machine can be dropped.
    Ended {
        /// The outcome.
        outcome: Outcome,
    },
    /// The intent was not taken: somebody else was faster. Nothing was done, nor will be.
    Lost,
    /// A conductor of a later term drives it. This one is not in office any more.
    TakenOver,
    /// The cancellation came too late, or is of no use: destruction cannot be undone.
    NotCancelled {
        /// The step that it is in.
        step: Step,
    },
}

/// What the machine waits for before it decides again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    No,
    /// The answer to this write.
    Write(u64),
    /// A listing.
    Relist,
    /// The view reaches this revision, so that it shows what was just written.
    View(u64),
}

/// One operation in the hands of one conductor.
#[derive(Clone, Debug)]
pub struct Transition {
    id: OperationId,
    scheduler: Scheduler,
    /// When this conductor took office; see [`Beginning`].
    term: u64,
    /// The intent, until it is known to be written.
    intent: Option<Txn>,
    cancel: Option<String>,
    /// The plan of a launch, fixed while this machine writes it.
    plan: Option<Placed>,
    busy: Busy,
    /// The step, and since when this machine sees it: deadlines count per conductor.
    step: Option<(Step, Now)>,
    token: u64,
    ended: bool,
    effects: VecDeque<Effect>,
}

impl Transition {
    /// A new operation, whose intent is still to be written.
    #[must_use]
    pub fn begin(beginning: &Beginning, intent: Txn, scheduler: Scheduler) -> Transition {
        let mut transition = Transition::resume(beginning.id, beginning.term, scheduler);
        transition.intent = Some(intent);
        transition
    }

    /// An unfinished operation that a conductor finds when it starts.
    #[must_use]
    pub fn resume(id: OperationId, term: u64, scheduler: Scheduler) -> Transition {
        Transition {
            id,
            scheduler,
            term,
            intent: None,
            cancel: None,
            plan: None,
            busy: Busy::No,
            step: None,
            token: 0,
            ended: false,
            effects: VecDeque::new(),
        }
    }

    /// Which operation.
    #[must_use]
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// Applies one input.
    pub fn on_input(&mut self, now: Now, view: &View, input: Input) {
        match input {
            Input::Looked => {}
            Input::Cancel { reason } => self.cancel = Some(reason),
            Input::Relisted => {
                if self.busy == Busy::Relist {
                    self.busy = Busy::No;
                }
            }
            Input::Written { token, result } => {
                if self.busy == Busy::Write(token) {
                    self.handle_written(result);
                }
            }
        }
        self.pump(now, view);
    }

    /// The deadline has come.
    pub fn on_deadline(&mut self, now: Now, view: &View) {
        self.pump(now, view);
    }

    /// When to call `on_deadline`.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        if self.ended || self.busy != Busy::No {
            return None;
        }
        let (step, since) = self.step?;
        Some(since.after(timeout_of(step)?))
    }

    /// Takes the next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn handle_written(&mut self, result: Written) {
        self.busy = match result {
            Written::Done { revision } => Busy::View(revision),
            // Refused: the view was old, or another conductor has the operation. Either way, and
            // when nobody knows what became of it, what stands is listed before anything is
            // decided.
            Written::Refused | Written::Unknown => {
                self.effects.push_back(Effect::Relist);
                Busy::Relist
            }
        };
        if self.intent.is_some() && result == Written::Refused {
            self.intent = None;
        }
    }

    fn pump(&mut self, now: Now, view: &View) {
        if let Busy::View(revision) = self.busy
            && view.revision() >= revision
        {
            self.busy = Busy::No;
        }
        if self.busy != Busy::No || self.ended {
            return;
        }
        let Some(operation) = view.operation(&self.id) else {
            match self.intent.clone() {
                Some(intent) => self.write(intent),
                None => self.end(Effect::Lost),
            }
            return;
        };
        self.intent = None;
        if let Some(outcome) = operation.record.outcome.clone() {
            return self.end(Effect::Ended { outcome });
        }
        let step = operation.record.step;
        let since = match self.step {
            Some((seen, since)) if seen == step => since,
            _ => now,
        };
        self.step = Some((step, since));
        let late = timeout_of(step).is_some_and(|timeout| now >= since.after(timeout));
        let mut steps = steps::Steps {
            id: self.id,
            view,
            operation,
            scheduler: &self.scheduler,
            plan: &mut self.plan,
            late,
        };
        let driven_by = operation.record.term;
        let next = if driven_by > self.term && !mutants::active(Mutant::TakenOverUnseen) {
            return self.end(Effect::TakenOver);
        } else if driven_by < self.term {
            Next::Write(steps.take_up(self.term))
        } else if let Some(reason) = &self.cancel {
            // It stays asked for until the record shows it: the write may not have been done.
            match steps.cancel(reason) {
                Some(txn) => Next::Write(txn),
                None => {
                    self.cancel = None;
                    if step != Step::Undo {
                        self.effects.push_back(Effect::NotCancelled { step });
                    }
                    steps.next()
                }
            }
        } else {
            steps.next()
        };
        if let Next::Write(txn) = next {
            self.write(txn);
        }
    }

    fn write(&mut self, mut txn: Txn) {
        if mutants::active(Mutant::OperationWithoutCompare) {
            let is_op =
                |compare: &Compare| matches!(compare, Compare::Revision(Key::Operation(_), _));
            txn.compares.retain(|compare| !is_op(compare));
        }
        self.token += 1;
        let token = self.token;
        self.busy = Busy::Write(token);
        self.effects.push_back(Effect::Write { token, txn });
    }

    fn end(&mut self, effect: Effect) {
        self.ended = true;
        self.effects.push_back(effect);
    }
}

/// How long a step may wait. Steps without an entry wait for nothing but the metastore.
fn timeout_of(step: Step) -> Option<core::time::Duration> {
    match step {
        Step::Start => Some(START_TIMEOUT),
        Step::Elect => Some(ELECT_TIMEOUT),
        Step::Stop | Step::Undo => Some(STOP_TIMEOUT),
        Step::Assign | Step::Open | Step::Done => None,
    }
}
