//! A closed chain: its steps and its exit in one object that an engine can run.
//!
//! Relies on `stage` for the contract. What must stay true: before a value enters the chain, its
//! record is named to the task and the outbox, so that a failure finds its record; the run of one
//! batch allocates per destination, not per value.

use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Record, RecordError};

use super::joint::Body;
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
    fn close(&self, task: &Task, fan: Fan<'_, T>);
}

/// To a stage, by a partitioner.
pub(crate) struct To<R, T> {
    pub(crate) router: Arc<R>,
    pub(crate) stage: StageIndex,
    /// Set when what follows combines values before they travel.
    pub(crate) combine: super::combine::Hook<T>,
}

impl<T: Record + Send, R: Router<T>> Exit<T> for To<R, T> {
    fn open<'o>(&self, out: &'o mut Outbox) -> Fan<'o, T> {
        Fan::new(out, self.stage)
    }

    #[inline]
    fn take(&self, task: &Task, value: T, fan: &mut Fan<'_, T>) {
        self.router.route(task, value, &mut Lanes(fan));
    }

    fn close(&self, _: &Task, fan: Fan<'_, T>) {
        match self.combine.get() {
            Some(combine) => fan.finish_with(combine),
            None => fan.finish(),
        }
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

    fn close(&self, _: &Task, _: Fan<'_, T>) {}
}

/// Takes the values of a chain on the task where they are, some at a time, in the same event.
pub(crate) trait Sink<T>: Send + Sync + 'static {
    fn drain(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox);
}

/// Into a sink.
pub(crate) struct IntoSink<S>(pub(crate) S);

impl<T: 'static, S: Sink<T>> Exit<T> for IntoSink<S> {
    fn open<'o>(&self, out: &'o mut Outbox) -> Fan<'o, T> {
        Fan::closed(out)
    }

    #[inline]
    fn take(&self, task: &Task, value: T, fan: &mut Fan<'_, T>) {
        if fan.keep(value) {
            let (items, out) = fan.take_kept();
            self.0.drain(task, items, out);
            fan.resume(task);
        }
    }

    fn close(&self, task: &Task, mut fan: Fan<'_, T>) {
        let (items, out) = fan.take_kept();
        if !items.is_empty() {
            self.0.drain(task, items, out);
        }
    }
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

impl<In, S, X> Body<In> for Fused<In, S, X>
where
    In: 'static,
    S: Steps<In>,
    X: Exit<S::Out>,
{
    fn run_items(&self, task: &Task, items: Vec<Item<In>>, out: &mut Outbox) {
        let mut fan = self.exit.open(out);
        for item in items {
            fan.begin(task, item.origin, item.edge);
            self.one(task, item.value, &mut fan);
        }
        self.exit.close(task, fan);
    }

    fn run_records(
        &self,
        task: &Task,
        records: &mut dyn Records,
        decode: fn(&[u8]) -> Result<In, RecordError>,
        out: &mut Outbox,
    ) {
        let mut fan = self.exit.open(out);
        records.visit(&mut |record| {
            fan.begin(task, record.origin, record.edge);
            match decode(record.bytes) {
                Ok(value) => self.one(task, value, &mut fan),
                Err(cause) => failure::raise(EventFailure::Undecodable {
                    pstate: format!("{} at offset {}", self.depot, record.offset),
                    cause: cause.to_string(),
                }),
            }
        });
        self.exit.close(task, fan);
    }
}

/// A chain that begins with records, as an engine sees it.
pub(super) struct Unit<T>(pub(super) Arc<dyn Body<T>>);

impl<T: Record + Send> Stage for Unit<T> {
    fn run(&self, task: &Task, batch: Batch, out: &mut Outbox) {
        self.0.run_items(task, batch.into_items::<T>(), out);
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
            let value = T::decode(value)?;
            decoded.push(Item {
                origin,
                edge,
                value,
            });
        }
        Ok(Batch::new(decoded))
    }
}

impl<T: Record + Send> SourceStage for Unit<T> {
    fn run_records(&self, task: &Task, records: &mut dyn Records, out: &mut Outbox) {
        self.0.run_records(task, records, T::decode, out);
    }
}
