//! `proxy`: what ten thousand followers cost, and how soon they know.
//!
//! Relies on one task group, so that every follower and every write meet on one thread. The same
//! open-loop writes run without followers and with them: the difference of the CPU per write is
//! what telling costs, followers' own work included. A write carries the moment it was meant to
//! begin, so that the time until its follower is called is that of the whole way: append, commit,
//! update, wake-up. The time until the append is acknowledged, in the same run, is the part before
//! the commit. At the end every follower must have been told the last write of its key.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, SelectAll};
use hdrhistogram::Histogram;
use rama::Change;
use rama::prelude::*;
use tokio::sync::watch;

use crate::cluster::{self, Outcome};
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::report::{Row, histogram};

/// Followers of a figure.
pub const FOLLOWERS: u64 = 10_000;
const PER_SECOND: f64 = 2_000.0;
/// Nobody waits longer for a change.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which write it is, from 1, and when it was meant, in nanoseconds since the run began.
type Stamp = (u64, u64);

/// Key and stamp.
const WRITES: Depot<(u64, Stamp)> = Depot::named("*writes");
const STAMPS: PState<Map<u64, Stamp>> = PState::named("$$stamps");

struct Stamps;

impl Module for Stamps {
    fn define(&self, m: &mut Setup) {
        m.depot(WRITES, Partition::hash_by(|(key, _): &(u64, Stamp)| *key));
        let mut stream = m.stream("write");
        let stamps = stream.pstate(STAMPS);
        stream
            .source(WRITES)
            .each(move |task, (key, stamp)| stamps.key(&key).set(task, stamp));
    }
}

/// Measures writes without followers and with one of each of `keys`, on a fresh cluster under
/// `dir`.
pub fn measure(dir: &Path, seconds: f64, keys: u64) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start_of(dir, 1)?;
    let runtime = cluster::clients()?;
    runtime.block_on(async {
        server.launch(Stamps).await?;
        let run = Duration::from_secs_f64(seconds);
        let cluster = server.cluster();
        let load = Load { cluster, keys };
        let mut rows = vec![load.without_followers(run).await?];
        rows.extend(load.with_followers(run).await?);
        server.shutdown().await?;
        Ok(rows)
    })
}

/// Changes of all keys, each with its key.
type Changes = SelectAll<BoxStream<'static, (u64, Change<Option<Stamp>>)>>;

/// What followers have been told.
struct Told {
    /// From when a write was meant to begin until its follower was called.
    took: Histogram<u64>,
    /// Of each key the number of the write that was told last; 0: none.
    last: Vec<u64>,
}

/// Writes to so many keys.
struct Load {
    cluster: Cluster,
    keys: u64,
}

impl Load {
    async fn without_followers(&self, run: Duration) -> Outcome<Row> {
        let meter = CpuMeter::start();
        let written = open_loop::run(PER_SECOND, run, self.writes(Instant::now())).await;
        let cpu = meter.stop();
        let written = written.all_well("proxy: writes")?;
        let name = "proxy: 0 followers, append until ack";
        Ok(Row::new(name, written.finished, cpu).latency(&written.latencies))
    }

    async fn with_followers(&self, run: Duration) -> Outcome<Vec<Row>> {
        let keys = self.keys;
        let changes = self.follow().await?;
        let began = Instant::now();
        let told = Arc::new(Mutex::new(Told {
            took: histogram(),
            last: vec![0; keys as usize],
        }));
        let (sender, mut news) = watch::channel(());
        let reading = tokio::spawn(read(changes, began, told.clone(), sender));
        let meter = CpuMeter::start();
        let written = open_loop::run(PER_SECOND, run, self.writes(began)).await;
        let cpu = meter.stop();
        let written = written.all_well("proxy: writes")?;
        let expected = self.last_writes(written.finished);
        let told = || told.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let behind = behind(&told().last, &expected);
            let Some(behind) = behind else { break };
            let changed = tokio::time::timeout(PATIENCE, news.changed());
            if !matches!(changed.await, Ok(Ok(()))) {
                return Err(behind.into());
            }
        }
        reading.abort();
        let until_ack = format!("proxy: {keys} followers, append until ack");
        let until_told = format!("proxy: {keys} followers, append until told");
        let took = &told().took;
        Ok(vec![
            Row::new(until_ack, written.finished, cpu).latency(&written.latencies),
            Row::new(until_told, took.len(), cpu).latency(took),
        ])
    }

    /// A follower of each key.
    async fn follow(&self) -> Outcome<Changes> {
        let client = self.cluster.pstate(STAMPS);
        let mut changes = SelectAll::new();
        for key in 0..self.keys {
            let proxy = client.proxy(STAMPS.key(&key)).await?;
            changes.push(proxy.map(move |change| (key, change)).boxed());
        }
        Ok(changes)
    }

    fn writes(&self, began: Instant) -> impl Fn(u64) -> BoxFuture<'static, bool> + use<> {
        let (writes, keys) = (self.cluster.depot(WRITES), self.keys);
        let first = began.elapsed();
        move |nth| {
            let meant = first + Duration::from_secs_f64(nth as f64 / PER_SECOND);
            let stamp = (nth + 1, meant.as_nanos() as u64);
            let answer = writes.append(&(key_of(nth, keys), stamp));
            Box::pin(async move { answer.await.is_ok() })
        }
    }

    /// Of each key the number of the last of so many writes.
    fn last_writes(&self, writes: u64) -> Vec<u64> {
        let mut last = vec![0; self.keys as usize];
        for nth in 0..writes {
            last[key_of(nth, self.keys) as usize] = nth + 1;
        }
        last
    }
}

fn key_of(nth: u64, keys: u64) -> u64 {
    nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys
}

/// Notes each change and how long it took, for ever.
async fn read(
    mut changes: Changes,
    began: Instant,
    told: Arc<Mutex<Told>>,
    news: watch::Sender<()>,
) {
    while let Some((key, change)) = changes.next().await {
        // What was there before the run was not written in it.
        let (Some(_), Some((number, meant))) = (change.old, *change.new) else {
            continue;
        };
        let took = (began.elapsed().as_nanos() as u64).saturating_sub(meant);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.took.saturating_record(took);
        told.last[key as usize] = number;
        drop(told);
        news.send_replace(());
    }
}

/// What is not as it must be, if anything.
fn behind(told: &[u64], expected: &[u64]) -> Option<String> {
    let key = (0..expected.len()).find(|key| told[*key] != expected[*key])?;
    Some(format!(
        "the follower of key {key} was told write {} last, it must be {}",
        told[key], expected[key]
    ))
}
