//! Batches whose rows wait on disk: the same comes out as of rows that wait in memory, also when the
//! power goes, and nothing of them stays.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::options::{BATCH_MEMORY, Level, Settings};
use crate::path::tests::random::Random;
use crate::schema::Map;
use crate::setup::Setup;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, Module, PState, Partition, Query, SourceOptions};

type Row = (u64, u64, String);

const ROWS: Depot<Row> = Depot::named("*rows");
const KEPT: PState<Map<u64, u64>> = PState::named("$$kept");
const FOLDED: PState<Map<u64, Vec<u64>>> = PState::named("$$folded");
const PAIRS: PState<Map<u64, (u64, u64)>> = PState::named("$$pairs");
const ALL: PState<Map<u64, Vec<(u64, String)>>> = PState::named("$$all");
/// By key: how many of its rows are in pairs of the same remainder, by a query.
const PAIRED: Query<u64, BTreeMap<u64, u64>> = Query::named("paired");

/// Every kind of step that waits, over the same rows.
struct Batches;

impl Module for Batches {
    fn define(&self, m: &mut Setup) {
        m.depot(ROWS, Partition::random());
        let mut mb = m.microbatch("batches");
        let (kept, folded) = (mb.pstate(KEPT), mb.pstate(FOLDED));
        let (pairs, all) = (mb.pstate(PAIRS), mb.pstate(ALL));
        let options = SourceOptions::new().start_from_beginning();
        let rows = mb.source_with(ROWS, options);
        let rows = rows.branch(|rows| {
            rows.materialize()
                .group_by(|row| row.0)
                .agg_into(kept, |of| of.sum(|row| row.1));
        });
        let rows = rows.branch(|rows| {
            rows.group_by(|row| row.0)
                .agg(|of| of.fold(Vec::new, |list, row| list.push(row.1)))
                .each(move |task, (key, mut list)| {
                    folded.key(&key).update(task, |old| {
                        let mut old = old.unwrap_or_default();
                        old.append(&mut list);
                        old
                    });
                });
        });
        let rows = rows.branch(|rows| {
            rows.hash_partition(|row| row.0).each(move |task, row| {
                all.key(&row.0).update(task, |old| {
                    let mut old = old.unwrap_or_default();
                    old.push((row.1, row.2));
                    old
                });
            });
        });
        let (left, right) = rows.fork();
        let left = left.filter(|_, row| row.1 % 2 == 0);
        left.full_join(right.filter(|_, row| row.1 % 3 == 0), |l| l.0, |r| r.0)
            .map(|_, (key, l, r)| (key, u64::from(l.is_some()), u64::from(r.is_some())))
            .group_by(|found| found.0)
            .agg_into(pairs, |of| (of.sum(|p| p.1), of.sum(|p| p.2)));
        m.query(PAIRED, move |q| {
            let rows = q.all_partition().flat_map(move |task, modulo| {
                let rows = all.entries(task).into_iter();
                let rows = rows.flat_map(|(key, rows)| rows.into_iter().map(move |r| (key, r)));
                let rows = rows.map(move |(key, (n, pad))| (key, n % modulo.max(1), pad));
                rows.collect::<Vec<_>>()
            });
            let (left, right) = rows.fork();
            left.join(right, |l| (l.0, l.1), |r| (r.0, r.1))
                .materialize()
                .group_by(|((key, _), ..)| *key)
                .agg(|of| of.count())
                .origin_partition()
                .agg(|of| of.map(|(key, count)| (*key, *count)))
        });
    }
}

fn options(memory: u64) -> Settings {
    Settings::new().with(Level::Module, BATCH_MEMORY.name, memory)
}

fn rows(seed: u64) -> Vec<Row> {
    let mut random = Random::new(seed);
    let keys = 1 + random.below(8);
    let row = |n| {
        (
            random.below(keys).min(random.below(keys)),
            n,
            "x".repeat(n as usize % 40),
        )
    };
    (0..120).map(row).collect()
}

async fn append(cluster: &SimulatedCluster, rows: &[Row]) {
    for row in rows {
        let depot = cluster.depot(ROWS);
        while let Err(error) = depot.append_with(row, AckLevel::AppendAck).await {
            assert!(error.kind() != crate::ErrorKind::Invalid, "{error}");
            cluster.sleep(Duration::from_millis(5)).await;
        }
    }
    cluster.calm().await;
    let found = || cluster.status().modules[0].topologies[0].clone();
    while found().lag > 0 || found().processed < rows.len() as u64 {
        cluster.sleep(Duration::from_millis(5)).await;
    }
    cluster.sleep(Duration::from_millis(100)).await;
}

async fn state(cluster: &SimulatedCluster, key: u64) -> (u64, Vec<u64>, Vec<u64>) {
    let kept = cluster.pstate(KEPT).select(KEPT.key(&key)).await.unwrap();
    let folded = cluster.pstate(FOLDED).select(FOLDED.key(&key)).await;
    let all = cluster.pstate(ALL).select(ALL.key(&key)).await.unwrap();
    let mut folded = folded.unwrap().unwrap_or_default();
    folded.sort();
    let mut all: Vec<_> = all.unwrap_or_default().iter().map(|row| row.0).collect();
    all.sort();
    (kept.unwrap_or(0), folded, all)
}

/// All that a key has, and what its rows come to in pairs.
async fn check(cluster: &SimulatedCluster, seed: u64, one_batch: bool) {
    let paired = cluster.query(PAIRED).invoke(5).await.unwrap();
    for key in 0..8 {
        let (kept, folded, all) = state(cluster, key).await;
        assert_eq!(
            kept,
            all.iter().sum::<u64>(),
            "seed {seed}, key {key}: kept"
        );
        assert_eq!(folded, all, "seed {seed}, key {key}: folded");
        let of = |rest| all.iter().filter(|n| *n % 5 == rest).count() as u64;
        let expected: u64 = (0..5).map(|rest| of(rest) * of(rest)).sum();
        let found = paired.get(&key).copied().unwrap_or(0);
        assert_eq!(found, expected, "seed {seed}, key {key}: paired");
        if !one_batch {
            continue;
        }
        let side = |modulo| all.iter().filter(|n| *n % modulo == 0).count() as u64;
        let (left, right) = (side(2), side(3));
        let expected = (left * right.max(1), right * left.max(1));
        let pairs = cluster.pstate(PAIRS).select(PAIRS.key(&key)).await.unwrap();
        assert_eq!(pairs.unwrap_or((0, 0)), expected, "seed {seed}, key {key}");
    }
}

fn spilled(cluster: &SimulatedCluster) -> u64 {
    cluster.status().modules[0].spilled_bytes
}

/// F-23, F-25, F-33, A-12: in one microbatch, all of whose steps have much too little memory.
#[test]
fn rows_that_wait_on_disk_come_to_the_same() {
    for seed in 0..12 {
        for (memory, spills) in [(1024, true), (1 << 30, false)] {
            let simulation = Simulation::seed(seed).tasks([1, 4][seed as usize % 2]);
            simulation
                .options(options(memory))
                .run(Batches, move |cluster| async move {
                    cluster.pause("Batches", "batches").await.unwrap();
                    let rows = rows(seed);
                    for row in &rows {
                        let depot = cluster.depot(ROWS);
                        depot.append_with(row, AckLevel::AppendAck).await.unwrap();
                    }
                    cluster.sleep(Duration::from_millis(20)).await;
                    cluster.resume("Batches", "batches").await.unwrap();
                    append(&cluster, &[]).await;
                    check(&cluster, seed, true).await;
                    assert_eq!(spilled(&cluster) > 0, spills, "seed {seed}");
                });
        }
    }
}

/// M-4: the same when the power goes at any moment, disks fail and hops are lost.
#[test]
fn rows_on_disk_survive_no_power_cut_and_need_not() {
    let mut total = 0;
    for seed in 0..30 {
        let simulation = Simulation::seed(seed).faults(Faults::all());
        let run = simulation
            .options(options(1024))
            .run(Batches, move |cluster| async move {
                append(&cluster, &rows(seed)).await;
                check(&cluster, seed, false).await;
                spilled(&cluster)
            });
        total += run.value;
    }
    assert!(total > 0, "nothing went to disk");
}
