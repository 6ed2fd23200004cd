//! A conductor's way into office, and its work there.
//!
//! Relies on the follower showing everything. What must stay true: the term is known before what is
//! unfinished is listed; after the lease is over nothing more is told to machines.

use std::collections::BTreeMap;

use rama_control::{Change, Follower, clock, write};
use rama_metastore::{Error, Lease, Metastore};
use rama_planner::ids::OperationId;
use rama_planner::limits::RETRY_AFTER;
use rama_planner::operation::{
    Beginning, Effect, Input, Refusal, Transition, begin_destroy, begin_launch, plan_launch,
};
use rama_planner::records::{Outcome, Step};
use rama_planner::store::{Key, Txn, Value, Written};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::asked::{Answer, Asked, Wish};
use super::{ConductorError, Start};
/// How often a beginning that lost against another writer is tried again, on what is there then.
const BEGINNINGS_MAX: u32 = 5;

/// Takes office again and again until the store is closed.
pub(super) async fn run<M: Metastore>(
    start: Start<M>,
    mut told: mpsc::UnboundedReceiver<Asked>,
) -> Error {
    loop {
        let entry = tokio::select! {
            entry = enter(&start) => entry,
            closed = decline_all(&mut told) => closed,
        };
        let (lease, term) = match entry {
            Ok(entry) => entry,
            Err(error) => return error,
        };
        tracing::info!(term, "conductor in office");
        let mut office = Office::new(&start, term);
        tokio::select! {
            error = office.serve(&mut told) => return error,
            () = lease.lapsed() => tracing::warn!(term, "the office is lost"),
        }
        // Whoever waits is answered by dropping; the lease goes, for the next in office.
        if let Err(error) = start.store.revoke(lease.id()).await {
            tracing::warn!(%error, "the office stays taken until its lease ends");
        }
    }
}

async fn decline_all(told: &mut mpsc::UnboundedReceiver<Asked>) -> Result<(Lease, u64), Error> {
    while let Some(asked) = told.recv().await {
        asked.decline();
    }
    Err(Error::Closed {
        attempt: "wait for commands".to_owned(),
    })
}

/// Waits until nobody is in office, and takes it.
async fn enter<M: Metastore>(start: &Start<M>) -> Result<(Lease, u64), Error> {
    let value = Value::Conductor(start.conductor.clone());
    let txn = Txn::new()
        .absent(Key::Conductor)
        .put_leased(Key::Conductor, value);
    loop {
        let lease = match start.store.grant(start.ttl).await {
            Ok(lease) => lease,
            Err(error @ Error::Closed { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "no lease at present");
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
        };
        let written = write(&start.store, &start.space, Some(lease.id()), &txn).await;
        if let Written::Done { revision } = written {
            return Ok((lease, revision));
        }
        // Taken; or perhaps taken by this very write: with its lease the key goes, too.
        if let Err(error) = start.store.revoke(lease.id()).await {
            tracing::warn!(%error, "a lease ends by itself");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// A beginning whose intent is not known to be written.
struct Begun {
    wish: Wish,
    tries: u32,
    answer: Answer<OperationId>,
}

struct Office<'a, M> {
    start: &'a Start<M>,
    term: u64,
    follower: Follower,
    transitions: BTreeMap<OperationId, Transition>,
    begun: BTreeMap<OperationId, Begun>,
    cancelled: BTreeMap<OperationId, Vec<Answer<()>>>,
    waiting: BTreeMap<OperationId, Vec<Answer<Outcome>>>,
    writes: JoinSet<(OperationId, u64, Written)>,
    relists: Vec<OperationId>,
}

impl<'a, M: Metastore> Office<'a, M> {
    fn new(start: &'a Start<M>, term: u64) -> Office<'a, M> {
        let follower = Follower::new(&start.store, &start.space);
        Office {
            start,
            term,
            follower,
            transitions: BTreeMap::new(),
            begun: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            waiting: BTreeMap::new(),
            writes: JoinSet::new(),
            relists: Vec::new(),
        }
    }

    async fn serve(&mut self, told: &mut mpsc::UnboundedReceiver<Asked>) -> Error {
        // A listing made before this conductor was in office would not do.
        while self.follower.view().revision() < self.term {
            if let Some(error) = follow(&mut self.follower).await.err() {
                return error;
            }
        }
        for id in self.follower.view().unfinished() {
            tracing::info!(operation = %id, "operation resumed");
            let scheduler = self.start.scheduler.clone();
            let transition = Transition::resume(id, self.term, scheduler);
            self.transitions.insert(id, transition);
        }
        self.look();
        loop {
            if let Err(error) = self.relist().await {
                return error;
            }
            let deadlines = self.transitions.values().filter_map(Transition::deadline);
            let deadline = deadlines.min();
            tokio::select! {
                changed = follow(&mut self.follower) => match changed {
                    Ok(Change::View) => self.look(),
                    Ok(Change::Settings | Change::Nothing) => {}
                    Err(error) => return error,
                },
                Some(written) = self.writes.join_next() => match written {
                    Ok((id, token, result)) => self.tell(id, Input::Written { token, result }),
                    Err(error) => tracing::error!(%error, "a write ended early"),
                },
                asked = told.recv() => match asked {
                    Some(asked) => self.ask(asked),
                    None => return Error::Closed { attempt: "wait for commands".to_owned() },
                },
                () = clock::until(deadline) => self.look(),
            }
        }
    }

    /// Lists everything anew, when a machine asked for it.
    async fn relist(&mut self) -> Result<(), Error> {
        while !self.relists.is_empty() {
            match self.start.store.list(&self.follower.prefix()).await {
                Ok(listing) => self.follower.relist(listing),
                Err(error @ Error::Closed { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "the metastore cannot be listed");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            }
            for id in std::mem::take(&mut self.relists) {
                self.tell(id, Input::Relisted);
            }
            self.look();
        }
        Ok(())
    }

    /// Every machine looks.
    fn look(&mut self) {
        let ids: Vec<OperationId> = self.transitions.keys().copied().collect();
        for id in ids {
            self.tell(id, Input::Looked);
        }
    }

    fn tell(&mut self, id: OperationId, input: Input) {
        let Some(transition) = self.transitions.get_mut(&id) else {
            return;
        };
        transition.on_input(clock::now(), self.follower.view(), input);
        let mut effects = Vec::new();
        while let Some(effect) = transition.poll_effect() {
            effects.push(effect);
        }
        for effect in effects {
            self.act(id, effect);
        }
        self.answer_begun(id);
    }

    fn act(&mut self, id: OperationId, effect: Effect) {
        match effect {
            Effect::Write { token, txn } => {
                let (store, space) = (self.start.store.clone(), self.start.space.clone());
                self.writes
                    .spawn(async move { (id, token, write(&store, &space, None, &txn).await) });
            }
            Effect::Relist => self.relists.push(id),
            Effect::Ended { outcome } => {
                tracing::info!(operation = %id, ?outcome, "operation ended");
                self.transitions.remove(&id);
                for answer in self.waiting.remove(&id).into_iter().flatten() {
                    let _ = answer.send(Ok(outcome.clone()));
                }
                let step = Step::Done;
                self.answer_cancelled(id, &Err(ConductorError::NotCancelled { id, step }));
            }
            Effect::Lost => {
                self.transitions.remove(&id);
                if let Some(begun) = self.begun.remove(&id) {
                    self.begin(begun.wish, begun.tries + 1, begun.answer);
                }
            }
            Effect::TakenOver => {
                tracing::warn!(operation = %id, "a later conductor drives this operation");
                self.transitions.remove(&id);
            }
            Effect::NotCancelled { step } => {
                self.answer_cancelled(id, &Err(ConductorError::NotCancelled { id, step }));
            }
        }
    }

    /// Answers what the view now shows: an intent that is written, a cancellation that is.
    fn answer_begun(&mut self, id: OperationId) {
        let Some(seen) = self.follower.view().operation(&id) else {
            return;
        };
        let undone = seen.record.step == Step::Undo;
        if let Some(begun) = self.begun.remove(&id) {
            let _ = begun.answer.send(Ok(id));
        }
        if undone {
            self.answer_cancelled(id, &Ok(()));
        }
    }

    fn answer_cancelled(&mut self, id: OperationId, result: &Result<(), ConductorError>) {
        for answer in self.cancelled.remove(&id).into_iter().flatten() {
            let _ = answer.send(result.clone());
        }
    }

    fn ask(&mut self, asked: Asked) {
        match asked {
            Asked::Launch(request, answer) => self.begin(Wish::Launch(request), 0, answer),
            Asked::Destroy { module, by, answer } => {
                self.begin(Wish::Destroy { module, by }, 0, answer);
            }
            Asked::Plan(request, answer) => {
                let plan = plan_launch(self.follower.view(), &request, &self.start.scheduler);
                let _ = answer.send(plan.map_err(ConductorError::from));
            }
            Asked::Cancel { id, reason, answer } => {
                if self.transitions.contains_key(&id) {
                    self.cancelled.entry(id).or_default().push(answer);
                    return self.tell(id, Input::Cancel { reason });
                }
                let seen = self.follower.view().operation(&id);
                let _ = answer.send(Err(match seen {
                    Some(seen) => ConductorError::NotCancelled {
                        id,
                        step: seen.record.step,
                    },
                    None => ConductorError::NoOperation(id),
                }));
            }
            Asked::Ended { id, answer } => {
                let seen = self.follower.view().operation(&id);
                match seen.map(|seen| seen.record.outcome.clone()) {
                    Some(Some(outcome)) => {
                        let _ = answer.send(Ok(outcome));
                    }
                    Some(None) => self.waiting.entry(id).or_default().push(answer),
                    None => {
                        let _ = answer.send(Err(ConductorError::NoOperation(id)));
                    }
                }
            }
            Asked::Look(look) => look(Some(self.follower.view())),
        }
    }

    fn begin(&mut self, wish: Wish, tries: u32, answer: Answer<OperationId>) {
        let beginning = Beginning {
            id: OperationId(Uuid::now_v7()),
            term: self.term,
            now_ms: crate::wall_ms(),
        };
        let intent = match self.intent(&wish, &beginning) {
            Ok(intent) if tries < BEGINNINGS_MAX => intent,
            Ok(_) => {
                let _ = answer.send(Err(ConductorError::Contended));
                return;
            }
            Err(refusal) => {
                let _ = answer.send(Err(refusal.into()));
                return;
            }
        };
        let scheduler = self.start.scheduler.clone();
        let transition = Transition::begin(&beginning, intent, scheduler);
        self.transitions.insert(beginning.id, transition);
        let begun = Begun {
            wish,
            tries,
            answer,
        };
        self.begun.insert(beginning.id, begun);
        self.tell(beginning.id, Input::Looked);
    }

    fn intent(&self, wish: &Wish, beginning: &Beginning) -> Result<Txn, Refusal> {
        let view = self.follower.view();
        match wish {
            Wish::Launch(request) => begin_launch(view, beginning, request, &self.start.scheduler),
            Wish::Destroy { module, by } => begin_destroy(view, beginning, module, by),
        }
    }
}

/// Waits for a change, through any outage. Cancelling the wait loses nothing.
async fn follow(follower: &mut Follower) -> Result<Change, Error> {
    loop {
        match follower.next().await {
            Ok(change) => return Ok(change),
            Err(error @ Error::Closed { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "the metastore cannot be followed"),
        }
    }
}
