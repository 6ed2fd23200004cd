//! A closed chain: its steps and its exit in one object that an engine can run.
//!
//! Relies on `stage` for the contract. What must stay true: before a value enters the chain, its
//! record is named to the task and the outbox, so that a failure finds its record; the run of one
//! batch allocates per destination, not per value.

use std::marker::PhantomData;

use rama_wire::{Record, RecordError};

use super::steps::Steps;
use crate::failure::{self, EventFailure};
use crate::partition::{Lanes, Router};
use crate::stage::{
    Batch, EncodedItem, Fan, Item, Outbox, Records, SourceStage, Stage, StageIndex,
};
use crate::task::Task;

/// Where values of a chain go that passed its last step.
pub(crate) trait Exit<T>: Send + Sync + 'static {
    fn open<'o>(&self, out: &'o mut Outbox) -> Fan<'o, T>;
    fn take(&self, task: &Task, value: T, fan: &mut Fan<'_, T>);
    fn close(&self, fan: Fan<'_, T>);
}

/// To a stage, by a partitioner.
pub(crate) struct To<R> {
    pub(crate) router: R,
    pub(crate) stage: StageIndex,
}

impl<T: Record + Send, R: Router<T>> Exit<T> for To<R> {
    fn open<'o>(&self, out: &'o mut Outbox) -> Fan<'o, T> {
        Fan::new(out, self.stage)
    }

    #[inline]
    fn take(&self, task: &Task, value: T, fan: &mut Fan<'_, T>) {
        self.router.route(task, value, &mut Lanes(fan));
    }

    fn close(&self, fan: Fan<'_, T>) {
        fan.finish();
    }
}

/// Into the author's last closure.
pub(crate) struct End<F>(pub(crate) F);

impl<T: 'static, F: Fn(&Task, T) + Send + Sync + 'static> Exit<T> for End<F> {
    fn open<'o>(&self, out: &'o mut Outbox) -> Fan<'o, T> {
        Fan::closed(out)
    }

    #[inline]
    fn take(&self, task: &Task, value: T, _: &mut Fan<'_, T>) {
        (self.0)(task, value);
    }

    fn close(&self, _: Fan<'_, T>) {}
}

/// Steps and exit as one piece of code. `depot` is there for the failures of a source.
pub(crate) struct Fused<In, S, X> {
    depot: &'static str,
    steps: S,
    exit: X,
    takes: PhantomData<fn(In)>,
}

impl<In, S, X> Fused<In, S, X>
where
    S: Steps<In>,
    X: Exit<S::Out>,
{
    pub(crate) fn new(depot: &'static str, steps: S, exit: X) -> Fused<In, S, X> {
        Fused {
            depot,
            steps,
            exit,
            takes: PhantomData,
        }
    }

    #[inline]
    fn one(&self, task: &Task, value: In, fan: &mut Fan<'_, S::Out>) {
        self.steps
            .run(task, value, &mut |value| self.exit.take(task, value, fan));
        fan.end();
    }
}

impl<In, S, X> Stage for Fused<In, S, X>
where
    In: Record + Send,
    S: Steps<In>,
    X: Exit<S::Out>,
{
    fn run(&self, task: &Task, batch: Batch, out: &mut Outbox) {
        let mut fan = self.exit.open(out);
        for item in batch.into_items::<In>() {
            fan.begin(task, item.origin, item.edge);
            self.one(task, item.value, &mut fan);
        }
        self.exit.close(fan);
    }

    fn decode(
        &self,
        items: &mut dyn ExactSizeIterator<Item = EncodedItem<'_>>,
    ) -> Result<Batch, RecordError> {
        let mut decoded = Vec::with_capacity(items.len());
        for EncodedItem {
            origin,
            edge,
            value,
        } in items
        {
            let value = In::decode(value)?;
            decoded.push(Item {
                origin,
                edge,
                value,
            });
        }
        Ok(Batch::new(decoded))
    }
}

impl<In, S, X> SourceStage for Fused<In, S, X>
where
    In: Record + Send,
    S: Steps<In>,
    X: Exit<S::Out>,
{
    fn run_records(&self, task: &Task, records: &mut dyn Records, out: &mut Outbox) {
        let mut fan = self.exit.open(out);
        records.visit(&mut |record| {
            fan.begin(task, record.origin, record.edge);
            match In::decode(record.bytes) {
                Ok(value) => self.one(task, value, &mut fan),
                Err(cause) => failure::raise(EventFailure::Undecodable {
                    pstate: format!("{} at offset {}", self.depot, record.offset),
                    cause: cause.to_string(),
                }),
            }
        });
        self.exit.close(fan);
    }
}
