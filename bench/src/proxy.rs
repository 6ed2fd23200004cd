//! `proxy`: what ten thousand followers cost, and how soon they know.
//!
//! Relies on one task group, so that every follower and every write meet on one thread. The same
//! open-loop writes run without followers and with them: the difference of the CPU per write is
//! what telling costs, followers' own work included. A write carries the moment it was meant to
//! begin, so that the time until its follower is called is that of the whole way: append, commit,
//! update, wake-up. The time until the append is acknowledged, in the same run, is the part before
//! the commit.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::SelectAll;
use hdrhistogram::Histogram;
use rama::prelude::*;
use rama::{Change, Diff, Proxy};

use crate::cluster::Outcome;
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::report::{Row, histogram};

const FOLLOWERS: u64 = 10_000;
const PER_SECOND: f64 = 2_000.0;

/// Key, and nanoseconds since the run began.
const WRITES: Depot<(u64, u64)> = Depot::named("*writes");
const TIMES: PState<Map<u64, u64>> = PState::named("$$times");

struct Times;

impl Module for Times {
    fn define(&self, m: &mut Setup) {
        m.depot(WRITES, Partition::hash_by(|write: &(u64, u64)| write.0));
        let mut stream = m.stream("write");
        let times = stream.pstate(TIMES);
        stream
            .source(WRITES)
            .each(move |task, (key, time)| times.key(&key).set(task, time));
    }
}

/// Measures writes without followers and with them, on a fresh cluster under `dir`.
pub fn measure(dir: &Path, seconds: f64) -> Outcome<Vec<Row>> {
    let scratch = tempfile::tempdir_in(dir)?;
    let server = InProcessCluster::builder()
        .tasks(1)
        .threads(1)
        .dir(scratch.path().join("data"))
        .pinned(true)
        .start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        server.launch(Times).await?;
        let run = Duration::from_secs_f64(seconds);
        let mut rows = Vec::new();
        for followers in [0, FOLLOWERS] {
            let began = Instant::now();
            let told = Arc::new(Mutex::new(histogram()));
            let proxies = follow(&server.cluster(), followers).await?;
            let reading = tokio::spawn(read(proxies, began, told.clone()));
            let meter = CpuMeter::start();
            let written = open_loop::run(PER_SECOND, run, writes(&server.cluster(), began)).await;
            let cpu = meter.stop();
            reading.abort();
            let name = format!("proxy: {followers} followers, append until ack");
            rows.push(Row::new(name, written.finished, cpu).latency(&written.latencies));
            if followers > 0 {
                let told = told.lock().unwrap_or_else(PoisonError::into_inner);
                let name = format!("proxy: {followers} followers, append until told");
                rows.push(Row::new(name, told.len(), cpu).latency(&told));
            }
        }
        server.shutdown().await?;
        Ok(rows)
    })
}

async fn follow(
    cluster: &Cluster,
    followers: u64,
) -> Outcome<SelectAll<Proxy<Option<u64>, (), Option<u64>>>> {
    let client = cluster.pstate(TIMES);
    let mut proxies = SelectAll::new();
    for key in 0..followers {
        proxies.push(client.proxy(TIMES.key(&key)).await?);
    }
    Ok(proxies)
}

/// Notes how long each change took, for ever.
async fn read(
    mut proxies: SelectAll<Proxy<Option<u64>, (), Option<u64>>>,
    began: Instant,
    told: Arc<Mutex<Histogram<u64>>>,
) {
    while let Some(Change { new, diff, .. }) = proxies.next().await {
        let (Diff::NewValue { .. }, Some(time)) = (diff, *new) else {
            continue;
        };
        let took = (began.elapsed().as_nanos() as u64).saturating_sub(time);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.saturating_record(took);
    }
}

fn writes(cluster: &Cluster, began: Instant) -> impl Fn(u64) -> BoxFuture<'static, bool> + use<> {
    let writes = cluster.depot(WRITES);
    let first = began.elapsed();
    move |number| {
        let writes = writes.clone();
        let meant = first + Duration::from_secs_f64(number as f64 / PER_SECOND);
        let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % FOLLOWERS;
        let record = (key, meant.as_nanos() as u64);
        Box::pin(async move { writes.append(&record).await.is_ok() })
    }
}
