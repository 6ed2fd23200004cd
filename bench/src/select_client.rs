//! `select-client`: reads of single keys by clients of another thread.
//!
//! Relies on committed state only. The closed-loop lines give throughput at a depth, the open-loop
//! line, at half of the deepest, gives the latency that counts.

use std::path::Path;
use std::time::Duration;

use rama::prelude::*;

use crate::cluster::{self, Outcome};
use crate::device::DeviceLimit;
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::report::Row;

const KEYS: u64 = 100_000;
const WRITES: Depot<u64> = Depot::named("*writes");
const VALUES: PState<Map<u64, Vec<u8>>> = PState::named("$$values");

struct Values;

impl Module for Values {
    fn define(&self, m: &mut Setup) {
        m.depot(WRITES, Partition::hash_by(|key: &u64| *key));
        let mut mb = m.microbatch("write");
        let values = mb.pstate(VALUES);
        mb.source(WRITES)
            .each(move |task, key| values.key(&key).set(task, vec![b'.'; 100]));
    }
}

fn request(
    values: &PStateClient<Map<u64, Vec<u8>>>,
) -> impl Fn(u64) -> futures_util::future::BoxFuture<'static, bool> + Clone + Send + Sync + 'static
{
    let values = values.clone();
    move |number| {
        let values = values.clone();
        let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
        Box::pin(async move {
            values
                .select_one(VALUES.key(&key))
                .await
                .is_ok_and(|v| v.is_some())
        })
    }
}

/// Measures selects on a fresh cluster under `dir`.
pub fn measure(dir: &Path, seconds: f64, limit: &DeviceLimit) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    let runtime = cluster::clients()?;
    runtime.block_on(async {
        server.launch(Values).await?;
        let keys: Vec<u64> = (0..KEYS).collect();
        let depot = server.cluster().depot(WRITES);
        for chunk in keys.chunks(1000) {
            depot.append_many(chunk, AckLevel::AppendAck).await?;
        }
        server.wait_for_processed("Values", "write", KEYS).await?;
        let values = server.cluster().pstate(VALUES);
        let run = Duration::from_secs_f64(seconds);
        let mut rows = Vec::new();
        let mut deepest = 0.0;
        for in_flight in [1, 64, 256] {
            let meter = CpuMeter::start();
            let outcome = open_loop::saturate(in_flight, run, request(&values)).await;
            let name = format!("select-client: {in_flight} in flight, closed loop");
            let row = Row::new(name, outcome.finished, meter.stop()).latency(&outcome.latencies);
            deepest = row.per_second;
            let ratio = row.per_second / limit.reads_per_second;
            rows.push(row.ratio(ratio, "4 KiB device reads"));
        }
        let meter = CpuMeter::start();
        let outcome = open_loop::run(deepest / 2.0, run, request(&values)).await;
        let name = format!("select-client: open loop at {:.0}/s", deepest / 2.0);
        rows.push(Row::new(name, outcome.finished, meter.stop()).latency(&outcome.latencies));
        server.shutdown().await?;
        Ok(rows)
    })
}
