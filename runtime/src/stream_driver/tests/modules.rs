//! Modules whose streams a restart could harm.
//!
//! Relies on the author's API alone.

use std::time::Duration;

use crate::pstate::PState;
use crate::schema::Map;
use crate::topology_def::Start;
use crate::{Depot, Module, Partition, Setup, SourceOptions};

/// Key and value.
pub(super) const EVENTS: Depot<(u64, u64)> = Depot::named("*events");
pub(super) const TALLY: PState<Map<u64, u64>> = PState::named("$$tally");

/// The value that [`Fragile`] and [`Careless`] cannot bear.
pub(super) const POISON: u64 = 13;

/// Counts events per key, on the task they are appended to.
pub(super) struct Tally;

impl Module for Tally {
    fn define(&self, m: &mut Setup) {
        m.depot(EVENTS, Partition::hash_by(|event: &(u64, u64)| event.0));
        let mut stream = m.stream("tally");
        let tally = stream.pstate(TALLY);
        let options = SourceOptions::new().start_from_beginning();
        stream
            .source_with(EVENTS, options)
            .each(move |task, (key, _)| tally.key(&key).update(task, |n| n.unwrap_or(0) + 1));
    }
}

/// Pauses when it meets poison.
pub(super) struct Fragile;

impl Module for Fragile {
    fn define(&self, m: &mut Setup) {
        m.depot(EVENTS, Partition::hash_by(|event: &(u64, u64)| event.0));
        let mut stream = m.stream("fragile");
        let tally = stream.pstate(TALLY);
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(1)
            .backoff(Duration::from_millis(1), Duration::from_millis(1))
            .then_pause();
        stream
            .source_with(EVENTS, options)
            .each(move |task, (key, value)| {
                tally.key(&key).update(task, |n| n.unwrap_or(0) + 1);
                if value == POISON {
                    task.fail("poison");
                }
            });
    }
}

/// Tries every event at most once, on another task than it is appended to.
pub(super) struct Careless;

impl Module for Careless {
    fn define(&self, m: &mut Setup) {
        m.depot(EVENTS, Partition::random());
        let mut stream = m.stream("careless");
        let tally = stream.pstate(TALLY);
        let options = SourceOptions::new().start_from_beginning().retry_none();
        stream
            .source_with(EVENTS, options)
            .hash_partition(|(key, _)| key)
            .each(move |task, (key, value)| {
                tally.key(&key).update(task, |n| n.unwrap_or(0) + 1);
                if value == POISON {
                    task.fail("poison");
                }
            });
    }
}

/// One partition, so that positions are those of all records.
pub(super) const SEEN: Depot<u64> = Depot::named("*seen");
pub(super) const READ: PState<Map<String, Vec<u64>>> = PState::named("$$read");
pub(super) const READ_EXACT: PState<Map<String, Vec<u64>>> = PState::named("$$readExact");

/// A stream and a microbatch that list what they read from a start on, once they have one.
pub(super) struct Readers {
    pub(super) start: Option<Start>,
}

impl Module for Readers {
    fn define(&self, m: &mut Setup) {
        m.depot(SEEN, Partition::random()).global();
        let Some(start) = self.start else { return };
        let push = |found: Option<Vec<u64>>, value| {
            let mut values = found.unwrap_or_default();
            values.push(value);
            values
        };
        let mut stream = m.stream("stream");
        let read = stream.pstate(READ);
        stream
            .source_with(SEEN, SourceOptions::new().start(start))
            .hash_partition(|_| "all".to_owned())
            .each(move |task, value| read.key("all").update(task, |found| push(found, value)));
        let mut exact = m.microbatch("microbatch");
        let read = exact.pstate(READ_EXACT);
        exact
            .source_with(SEEN, SourceOptions::new().start(start))
            .hash_partition(|_| "all".to_owned())
            .each(move |task, value| read.key("all").update(task, |found| push(found, value)));
    }
}
