//! `point-read`: reads of single keys inside a topology, where code and data share a core.
//!
//! Relies on a microbatch topology whose records are orders to read: each record reads a fixed
//! number of scattered keys of its own task. State is loaded through the same module, so reads go
//! through memtable and tables as in production.

use std::path::Path;

use rama::prelude::*;

use crate::cluster::{self, Outcome};
use crate::device::DeviceLimit;
use crate::environment::CpuMeter;
use crate::report::Row;

/// Keys per task; values are a hundred bytes.
const KEYS_PER_TASK: u64 = 250_000;
const READS_PER_ORDER: u64 = 20_000;
const ORDERS_PER_TASK: u64 = 200;

/// What a task shall do.
#[rama::record]
enum Order {
    /// Write keys `[from, to)` of this task.
    Load { from: u64, to: u64 },
    /// Read scattered keys, starting at `seed`.
    Read { seed: u64 },
}

const ORDERS: Depot<Order> = Depot::named("*orders");
const VALUES: PState<Map<u64, Vec<u8>>> = PState::named("$$values");
const FOUND: PState<Map<u64, u64>> = PState::named("$$found");

struct Reads;

impl Module for Reads {
    fn define(&self, m: &mut Setup) {
        m.depot(ORDERS, Partition::random());
        let mut mb = m.microbatch("reads");
        let (values, found) = (mb.pstate(VALUES), mb.pstate(FOUND));
        mb.source(ORDERS)
            .all_partition()
            .each(move |task, order| match order {
                // Keys are numbered per task and never looked up from outside: alignment is by number.
                Order::Load { from, to } => {
                    for key in from..to {
                        values.unaligned().key(&key).set(task, vec![b'.'; 100]);
                    }
                }
                Order::Read { seed } => {
                    let mut bytes = 0u64;
                    for n in 0..READS_PER_ORDER {
                        let key = (seed + n).wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS_PER_TASK;
                        let value = values.unaligned().key(&key).get(task);
                        bytes += value.map_or(0, |value| value.len() as u64);
                    }
                    found
                        .unaligned()
                        .key(&u64::from(task.id()))
                        .update(task, |n| n.unwrap_or(0) + bytes);
                }
            });
    }
}

/// Measures reads on a fresh cluster under `dir`.
pub fn measure(dir: &Path, limit: &DeviceLimit) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        server.launch(Reads).await?;
        let depot = server.cluster().depot(ORDERS);
        const LOAD: u64 = 10_000;
        for from in (0..KEYS_PER_TASK).step_by(LOAD as usize) {
            let order = Order::Load {
                from,
                to: (from + LOAD).min(KEYS_PER_TASK),
            };
            depot.append_with(&order, AckLevel::AppendAck).await?;
        }
        let loads = KEYS_PER_TASK.div_ceil(LOAD);
        server.wait_for_processed("Reads", "reads", loads).await?;
        server.cluster().pause("Reads", "reads").await?;
        for seed in 0..ORDERS_PER_TASK {
            let order = Order::Read {
                seed: seed * READS_PER_ORDER,
            };
            depot.append_with(&order, AckLevel::AppendAck).await?;
        }
        let meter = CpuMeter::start();
        server.cluster().resume("Reads", "reads").await?;
        server
            .wait_for_processed("Reads", "reads", loads + ORDERS_PER_TASK)
            .await?;
        let cpu = meter.stop();
        let tasks = 2u64.max(threads.next_power_of_two());
        let reads = ORDERS_PER_TASK * READS_PER_ORDER * tasks;
        let row = Row::new(
            format!("point-read: in a topology, {threads} cores"),
            reads,
            cpu,
        );
        let ratio = row.per_second / limit.reads_per_second;
        server.shutdown().await?;
        Ok(vec![row.ratio(ratio, "4 KiB device reads")])
    })
}
