//! `query-fan-out`: a query that asks every task and adds up the answers where it began.
//!
//! Relies on each task counting what it holds, so that the right answer is known whatever the
//! number of tasks. For each number: as many queries as go, one by one and many at a time, then
//! queries at fixed moments at half that rate. Beside it the same fan-out by plain threads and
//! channels over values in memory: what waking and messages cost without an engine.

#[cfg(test)]
mod tests;
mod threads;

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rama::prelude::*;

use crate::cluster::{self, Outcome};
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::report::Row;

/// Numbers of tasks of a figure.
pub const TASKS: &[u32] = &[1, 8, 32];
const KEYS: u64 = 10_000;
const IN_FLIGHT: usize = 64;

const KEYED: Depot<u64> = Depot::named("*keyed");
const KEPT: PState<Map<u64, u64>> = PState::named("$$kept");
/// How many keys a task holds.
const HELD: PState<u64> = PState::named("$$held");
/// How many keys all tasks hold.
const COUNT: Query<(), u64> = Query::named("count");

struct Everywhere;

impl Module for Everywhere {
    fn define(&self, m: &mut Setup) {
        m.depot(KEYED, Partition::hash_by(|key: &u64| *key));
        let mut mb = m.microbatch("keep");
        let (kept, held) = (mb.pstate(KEPT), mb.pstate(HELD));
        mb.source(KEYED).each(move |task, key| {
            kept.key(&key).set(task, key);
            held.update(task, |held| held.unwrap_or(0) + 1);
        });
        m.query(COUNT, |q| {
            q.all_partition()
                .map(move |task, ()| held.get(task).unwrap_or(0))
                .origin_partition()
                .agg(|of| of.sum(|held| *held))
        });
    }
}

/// Measures on fresh clusters under `dir`, one for each number of tasks.
pub fn measure(dir: &Path, seconds: f64, tasks: &[u32]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for tasks in tasks {
        rows.extend(of_tasks(dir, seconds, *tasks)?);
    }
    Ok(rows)
}

fn of_tasks(dir: &Path, seconds: f64, tasks: u32) -> Outcome<Vec<Row>> {
    let run = Duration::from_secs_f64(seconds);
    let threads = cluster::cores().min(tasks);
    let meter = CpuMeter::start();
    let asked = threads::saturate(threads, tasks, IN_FLIGHT, run)?;
    let name =
        format!("query-fan-out: {tasks} tasks, {threads} plain threads, {IN_FLIGHT} in flight");
    let peer = Row::new(name, asked, meter.stop());
    let (server, _scratch) = cluster::start_of(dir, tasks)?;
    let runtime = cluster::clients()?;
    runtime.block_on(async {
        server.launch(Everywhere).await?;
        let keys: Vec<u64> = (0..KEYS).collect();
        let depot = server.cluster().depot(KEYED);
        for some in keys.chunks(1000) {
            depot.append_many(some, AckLevel::AppendAck).await?;
        }
        server
            .wait_for_processed("Everywhere", "keep", KEYS)
            .await?;
        let mut rows = Vec::new();
        let mut deepest = 0.0;
        for in_flight in [1, IN_FLIGHT] {
            let meter = CpuMeter::start();
            let asked = open_loop::saturate(in_flight, run, ask(&server.cluster())).await;
            let cpu = meter.stop();
            let asked = asked.all_well("query-fan-out")?;
            let name = format!("query-fan-out: {tasks} tasks, {in_flight} in flight, closed loop");
            let row = Row::new(name, asked.finished, cpu).latency(&asked.latencies);
            deepest = row.per_second;
            rows.push(row);
        }
        if let Some(row) = rows.pop() {
            let ratio = row.per_second / peer.per_second;
            rows.push(row.ratio(ratio, "plain threads"));
        }
        let meter = CpuMeter::start();
        let asked = open_loop::run(deepest / 2.0, run, ask(&server.cluster())).await;
        let cpu = meter.stop();
        let asked = asked.all_well("query-fan-out")?;
        let name = format!(
            "query-fan-out: {tasks} tasks, open loop at {:.0}/s",
            deepest / 2.0
        );
        rows.push(Row::new(name, asked.finished, cpu).latency(&asked.latencies));
        server.shutdown().await?;
        rows.insert(0, peer);
        Ok(rows)
    })
}

/// Asks, and compares the answer.
fn ask(
    cluster: &Cluster,
) -> impl Fn(u64) -> BoxFuture<'static, bool> + Clone + Send + Sync + 'static + use<> {
    let query = cluster.query(COUNT);
    move |_| {
        let answer = query.invoke(());
        Box::pin(async move { answer.await.is_ok_and(|count| count == KEYS) })
    }
}
