//! `batch-join`: two sides joined by key and the pairs counted by another, in one microbatch; once with
//! memory for all rows, and once with so little that they wait on disk.
//!
//! Relies on one microbatch to take everything, so that every row waits for the last. Before a figure is
//! printed the counts are compared with those of one loop over memory, whose speed is the limit of one
//! core, and the module is asked whether rows went to disk.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use fastrand::Rng;
use rama::options::Level;
use rama::prelude::*;

use crate::cluster::{self, Outcome, Processed};
use crate::environment::CpuMeter;
use crate::report::Row;

const SEED: u64 = 20_261_122;
/// What a task thread has for the rows of a step when they wait on disk, in bytes.
const LITTLE: u64 = 8 << 20;
/// What it has when they wait in memory.
const PLENTY: u64 = 64 << 30;

/// An order's number, whether it is an order or a delivery, and its region.
type Event = (u32, bool, u16);

/// Orders and deliveries, wherever they come in.
const EVENTS: Depot<Event> = Depot::named("*events");
/// Region of the order and region of the delivery to how many orders went that way.
const WAYS: PState<Map<(u16, u16), u64>> = PState::named("$$ways");

struct Deliveries;

impl Module for Deliveries {
    fn define(&self, m: &mut Setup) {
        m.depot(EVENTS, Partition::random());
        let mut mb = m.microbatch("ways");
        let ways = mb.pstate(WAYS);
        let (orders, deliveries) = mb.source(EVENTS).fork();
        orders
            .filter(|_, event| event.1)
            .join(
                deliveries.filter(|_, event| !event.1),
                |order| order.0,
                |delivery| delivery.0,
            )
            .map(|_, (_, order, delivery)| (order.2, delivery.2))
            .group_by(|way| *way)
            .agg_into(ways, |of| of.count());
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Orders; each has a delivery, and every tenth a second one.
    pub orders: u32,
    /// Regions they come from and go to.
    pub regions: u16,
    /// What a task thread has when rows are to wait on disk.
    pub little: u64,
}

impl Shape {
    /// That of a figure.
    pub const FULL: Shape = Shape {
        orders: 1_000_000,
        regions: 200,
        little: LITTLE,
    };
}

/// Measures on fresh clusters under `dir`.
pub fn measure(dir: &Path, shape: Shape) -> Outcome<Vec<Row>> {
    let events = draw(shape);
    let (meter, began) = (CpuMeter::start(), Instant::now());
    let expected = naive(&events);
    let limit = events.len() as f64 / began.elapsed().as_secs_f64().max(1e-9);
    let peer = "batch-join: the same counts in a loop over memory, one core";
    let mut rows = vec![Row::new(peer, events.len() as u64, meter.stop())];
    for (place, memory) in [("on disk", shape.little), ("in memory", PLENTY)] {
        let (done, spilled) = process(dir, &events, memory, &expected)?;
        if (spilled > 0) != (memory < PLENTY) {
            return Err(format!("{spilled} bytes went to disk of rows that wait {place}").into());
        }
        let megabytes = spilled / 1_000_000;
        let name = format!(
            "batch-join: {} orders and deliveries in one microbatch, rows {place} ({megabytes} MB)",
            events.len()
        );
        let payload = (events.len() * size_of::<Event>()) as u64;
        let row = Row::new(name, events.len() as u64, done.cpu)
            .payload(payload)
            .written(done.written, payload);
        let per_second = row.per_second;
        rows.push(row.ratio(per_second / limit, "the loop over memory"));
    }
    Ok(rows)
}

/// One run on a cluster of its own: what it took, and how many bytes went to disk.
fn process(
    dir: &Path,
    events: &[Event],
    memory: u64,
    expected: &BTreeMap<(u16, u16), u64>,
) -> Outcome<(Processed, u64)> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    cluster::clients()?.block_on(async {
        server.launch(Deliveries).await?;
        let set = async |option: &str, value: u64| {
            server
                .set_option("Deliveries", Level::Module, option, value)
                .await
        };
        set("worker.batch.memory.bytes", memory).await?;
        set("depot.microbatch.max.records", 16_777_216).await?;
        set("depot.microbatch.max.bytes", 1 << 30).await?;
        let topology = ("Deliveries", "ways");
        let batches = || server.status().modules[0].topologies[0].microbatch_id;
        let before = batches();
        let done = cluster::process_backlog(&server, topology, EVENTS, events).await?;
        if batches() != before + 1 {
            return Err("it took more than one microbatch, which pairs less: run it again".into());
        }
        let mut found = BTreeMap::new();
        for way in expected.keys() {
            let count = server
                .cluster()
                .pstate(WAYS)
                .select_one(WAYS.key(way))
                .await?;
            found.extend(count.map(|count| (*way, count)));
        }
        check(&found, expected)?;
        let spilled = server.status().modules[0].spilled_bytes;
        server.shutdown().await?;
        Ok((done, spilled))
    })
}

fn draw(shape: Shape) -> Vec<Event> {
    let mut rng = Rng::with_seed(SEED);
    let mut events = Vec::new();
    for order in 0..shape.orders {
        events.push((order, true, rng.u16(..shape.regions)));
        for _ in 0..1 + u32::from(order % 10 == 0) {
            events.push((order, false, rng.u16(..shape.regions)));
        }
    }
    rng.shuffle(&mut events);
    events
}

/// The counts by a sort and a loop.
fn naive(events: &[Event]) -> BTreeMap<(u16, u16), u64> {
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    let mut counts = BTreeMap::new();
    for group in sorted.chunk_by(|one, next| one.0 == next.0) {
        let (deliveries, orders) = group.split_at(group.partition_point(|event| !event.1));
        for order in orders {
            for delivery in deliveries {
                *counts.entry((order.2, delivery.2)).or_default() += 1;
            }
        }
    }
    counts
}

/// That all ways have their counts.
///
/// # Errors
/// With the difference.
fn check(found: &BTreeMap<(u16, u16), u64>, expected: &BTreeMap<(u16, u16), u64>) -> Outcome<()> {
    for (way, count) in expected {
        let found = found.get(way).copied().unwrap_or(0);
        if found != *count {
            return Err(format!("{found} orders went {way:?}, it must be {count}").into());
        }
    }
    Ok(())
}
