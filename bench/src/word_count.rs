//! `word-count`: a text into exactly-once counts by microbatch, and into acknowledged counts by
//! stream.
//!
//! Relies on the bundled book, many times over. The totals are compared with a plain count before
//! a figure is printed: a wrong count is a failed run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rama::prelude::*;
use word_count::{COUNTS, EXACT_COUNTS, LINES, words};

use crate::cluster::{self, Outcome};
use crate::device::DeviceLimit;
use crate::environment::CpuMeter;
use crate::report::Row;

const BOOK: &str = include_str!("../../modules/word_count/data/kjv.txt");
const LINES_PER_CALL: usize = 1000;

struct Exact;

impl Module for Exact {
    fn define(&self, m: &mut Setup) {
        m.depot(LINES, Partition::random());
        let mut mb = m.microbatch("exact_count");
        let exact = mb.pstate(EXACT_COUNTS);
        mb.source(LINES)
            .flat_map(|_, line| words(line))
            .hash_partition(|word| word)
            .each(move |task, word| exact.key(&word).update(task, |n| n.unwrap_or(0) + 1));
    }
}

struct Streamed;

impl Module for Streamed {
    fn define(&self, m: &mut Setup) {
        m.depot(LINES, Partition::random());
        let mut s = m.stream("count");
        let counts = s.pstate(COUNTS);
        s.source(LINES)
            .flat_map(|_, line| words(line))
            .hash_partition(|word| word)
            .each(move |task, word| counts.key(&word).update(task, |n| n.unwrap_or(0) + 1));
    }
}

/// Measures both on fresh clusters under `dir`; `copies` of the book each.
pub fn measure(dir: &Path, copies: usize, limit: &DeviceLimit) -> Outcome<Vec<Row>> {
    let lines: Vec<String> = BOOK.lines().map(str::to_string).collect();
    let mut expected = BTreeMap::<String, u64>::new();
    for word in lines.iter().flat_map(|line| words(line.clone())) {
        *expected.entry(word).or_default() += copies as u64;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut rows = vec![exact(dir, &lines, copies, &expected, limit).await?];
        rows.push(streamed(dir, &lines, copies, &expected).await?);
        Ok(rows)
    })
}

fn total(expected: &BTreeMap<String, u64>) -> u64 {
    expected.values().sum()
}

async fn check(
    cluster: &Cluster,
    pstate: PState<Map<String, u64>>,
    expected: &BTreeMap<String, u64>,
) -> Outcome<()> {
    for (word, count) in expected {
        let found = cluster
            .pstate(pstate)
            .select_one(pstate.key(word))
            .await?
            .unwrap_or(0);
        if found != *count {
            return Err(
                format!("{word} was counted {found} times, it occurs {count} times").into(),
            );
        }
    }
    Ok(())
}

/// Everything is appended while the topology is paused; the figure is processing alone.
async fn exact(
    dir: &Path,
    lines: &[String],
    copies: usize,
    expected: &BTreeMap<String, u64>,
    limit: &DeviceLimit,
) -> Outcome<Row> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    server.launch(Exact).await?;
    let cluster = server.cluster();
    cluster.pause("Exact", "exact_count").await?;
    let depot = cluster.depot(LINES);
    for _ in 0..copies {
        for chunk in lines.chunks(LINES_PER_CALL) {
            depot.append_many(chunk, AckLevel::AppendAck).await?;
        }
    }
    let before = cluster::device_bytes_written();
    let meter = CpuMeter::start();
    cluster.resume("Exact", "exact_count").await?;
    server
        .wait_for_processed("Exact", "exact_count", (lines.len() * copies) as u64)
        .await?;
    let cpu = meter.stop();
    let written = cluster::device_bytes_written() - before;
    check(&cluster, EXACT_COUNTS, expected).await?;
    let payload = BOOK.len() as u64 * copies as u64;
    let row = Row::new(
        "word-count: microbatch, exactly once, words",
        total(expected),
        cpu,
    )
    .payload(payload)
    .written(written, payload);
    server.shutdown().await?;
    let share = payload as f64 / cpu.seconds / limit.write_bytes_per_second;
    Ok(row.ratio(share, "sequential bandwidth (text bytes)"))
}

/// Lines are appended with `Ack` in calls of a thousand: each call returns when its counts can be read.
async fn streamed(
    dir: &Path,
    lines: &[String],
    copies: usize,
    expected: &BTreeMap<String, u64>,
) -> Outcome<Row> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    server.launch(Streamed).await?;
    let cluster = server.cluster();
    let depot = cluster.depot(LINES);
    let mut latencies = crate::report::histogram();
    let meter = CpuMeter::start();
    for _ in 0..copies {
        for pair in lines.chunks(2 * LINES_PER_CALL) {
            let began = Instant::now();
            let (first, second) = pair.split_at(pair.len().min(LINES_PER_CALL));
            let first = depot.append_many(first, AckLevel::Ack);
            let second = depot.append_many(second, AckLevel::Ack);
            first.await?;
            second.await?;
            latencies.saturating_record(began.elapsed().as_nanos() as u64);
        }
    }
    let cpu = meter.stop();
    check(&cluster, COUNTS, expected).await?;
    server.shutdown().await?;
    Ok(Row::new(
        "word-count: stream, acknowledged after state, words",
        total(expected),
        cpu,
    )
    .latency(&latencies)
    .payload(BOOK.len() as u64 * copies as u64))
}
