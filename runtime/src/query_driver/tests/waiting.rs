//! Code that waits, in all kinds of topologies: nested queries, acknowledged appends, other futures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::options::{Level, Settings};
use crate::schema::Map;
use crate::setup::Setup;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Definition, Depot, Module, PState, Partition, Query, SourceOptions, Turn};

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const SQUARES: Depot<(u64, u64)> = Depot::named("*squares");
const FOUND: PState<Map<u64, u64>> = PState::named("$$found");
const STORED: PState<Map<u64, u64>> = PState::named("$$stored");
const EXACT: PState<Map<u64, u64>> = PState::named("$$exact");
const FIBONACCI: Query<u64, u64> = Query::named("fibonacci");
const FOREVER: Query<u64, u64> = Query::named("forever");

/// Numbers and what queries make of them, by a stream and by a microbatch.
struct Numbers {
    /// So many waits fail before one succeeds.
    failures: Arc<AtomicU64>,
}

impl Module for Numbers {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::hash_by(|n: &u64| *n));
        m.depot(SQUARES, Partition::disallow());
        // Spec §16.1 query.Fibonacci: a query that invokes itself.
        m.query(FIBONACCI, |q| {
            q.map_async(|waiter, n: u64| async move {
                if n < 2 {
                    return Ok::<_, crate::Error>(n);
                }
                let one = waiter.query(FIBONACCI, n - 1).await?;
                Ok(one + waiter.query(FIBONACCI, n - 2).await?)
            })
            .origin_partition()
        });
        m.query(FOREVER, |q| {
            q.query(FOREVER, |n| n + 1)
                .map(|_, both| both.1)
                .origin_partition()
        });
        let mut s = m.stream("streaming");
        let (found, failures) = (s.pstate(FOUND), self.failures.clone());
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(u32::MAX)
            .backoff(Duration::ZERO, Duration::from_millis(5));
        s.source_with(NUMBERS, options)
            .query(FIBONACCI, |n| *n)
            .map_async(move |waiter, (n, fibonacci)| {
                let failures = failures.clone();
                async move {
                    waiter.sleep(Duration::from_millis(1)).await;
                    let left = failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
                    match left {
                        Ok(_) => Err("not yet"),
                        Err(_) => Ok((n, fibonacci)),
                    }
                }
            })
            .inspect(move |task, (n, fibonacci)| found.key(n).set(task, *fibonacci))
            .append(SQUARES, AckLevel::Ack, |(n, _)| (*n, n * n))
            .each(|task, (n, _)| task.ack_return(&n));
        let mut other = m.stream("squares");
        let stored = other.pstate(STORED);
        let options = SourceOptions::new().start_from_beginning();
        other
            .source_with(SQUARES, options)
            .each(move |task, (n, square)| stored.key(&n).set(task, square));
        let mut exact = m.microbatch("exactly");
        let sums = exact.pstate(EXACT);
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(u32::MAX)
            .backoff(Duration::ZERO, Duration::ZERO);
        exact
            .source_with(NUMBERS, options)
            .query(FIBONACCI, |n| *n % 10)
            .each(move |task, (n, fibonacci)| {
                sums.key(&n)
                    .update(task, |sum| sum.unwrap_or(0) + fibonacci);
            });
    }
}

fn numbers() -> Numbers {
    Numbers {
        failures: Arc::default(),
    }
}

async fn settle(cluster: &SimulatedCluster) {
    let lag = || {
        let status = cluster.status();
        status.modules[0]
            .topologies
            .iter()
            .map(|found| found.lag)
            .sum::<u64>()
    };
    while lag() > 0 {
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// queries invoke themselves, over tasks and machines; one that never ends has a deadline.
#[test]
fn queries_invoke_each_other_and_themselves() {
    for machines in [1, 2] {
        let mut options = Settings::new();
        let timeout = "topology.query.timeout.millis";
        options.set(Level::Module, timeout, serde_json::json!(50));
        let simulation = Simulation::seed(1).tasks(4).machines(machines);
        simulation
            .options(options)
            .run(numbers(), |cluster| async move {
                cluster.calm().await;
                for n in 0..11 {
                    let answer = cluster.query(FIBONACCI).invoke(n).await.unwrap();
                    assert_eq!(answer, fibonacci(n));
                }
                for _ in 0..2 {
                    let error = cluster.query(FOREVER).invoke(0).await.unwrap_err();
                    assert!(error.to_string().contains("was given up after"), "{error}");
                }
            });
    }
}

/// F-7, G-7, D-30, D-31, S-18: a stream waits for a query, another system, and an append with what
/// follows of it; its appender for all of that. What fails is tried again.
#[test]
fn a_stream_waits_for_what_its_code_waits_for() {
    for seed in 0..10 {
        let module = Numbers {
            failures: Arc::new(AtomicU64::new(seed % 3)),
        };
        let simulation = Simulation::seed(seed)
            .tasks(4)
            .machines(1 + seed as u32 % 2);
        simulation.run(module, move |cluster| async move {
            cluster.calm().await;
            for n in 0..8 {
                let appended = cluster.depot(NUMBERS).append(&n).await;
                if let Err(error) = appended {
                    // D-20: the first attempt decided; a retry will do it.
                    assert!(error.to_string().contains("not yet"), "{error:#}");
                    settle(&cluster).await;
                }
                let found = cluster.pstate(FOUND).select(FOUND.key(&n)).await.unwrap();
                assert_eq!(found, Some(fibonacci(n)), "seed {seed}: {n}");
                let stored = cluster.pstate(STORED).select(STORED.key(&n)).await.unwrap();
                assert_eq!(stored, Some(n * n), "seed {seed}: {n}");
            }
        });
    }
}

/// M-4 with code that waits: whatever fails, each number counts once.
#[test]
fn a_microbatch_that_waits_counts_once_under_faults() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).tasks(4).faults(Faults::all());
        simulation.run(numbers(), move |cluster| async move {
            let mut sure = Vec::new();
            for n in 0..20 {
                let appended = cluster.depot(NUMBERS).append_with(&n, AckLevel::AppendAck);
                match appended.await {
                    Ok(_) => sure.push(n),
                    Err(_) => cluster.sleep(Duration::from_millis(5)).await,
                }
            }
            cluster.calm().await;
            settle(&cluster).await;
            for n in 0..20 {
                let sum = cluster.pstate(EXACT).select(EXACT.key(&n)).await.unwrap();
                let once = fibonacci(n % 10);
                assert!(
                    sum == Some(once) || sum.is_none(),
                    "seed {seed}: {n} came to {sum:?}"
                );
                assert!(
                    sum.is_some() || !sure.contains(&n),
                    "seed {seed}: {n} is missing"
                );
            }
        });
    }
}

/// Every number goes two ways, and one of them round and round.
struct Walks;

impl Module for Walks {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::hash_by(|n: &u64| *n));
        let mut s = m.stream("walks");
        let (found, stored) = (s.pstate(FOUND), s.pstate(STORED));
        s.source_with(NUMBERS, SourceOptions::new().start_from_beginning())
            .branch(|side| {
                side.map(|_, n| (n, n + 1))
                    .hash_partition(|(n, _)| n)
                    .each(move |task, (n, next)| found.key(&n).set(task, next));
            })
            .map(|_, n| (n, 5u64))
            .iterate(|round| {
                round
                    .hash_partition(|(_, left)| left)
                    .map(|_, (n, left)| match left {
                        0 => Turn::Emit(n),
                        left => Turn::Again((n, left - 1)),
                    })
            })
            .hash_partition(|n| n)
            .each(move |task, n| stored.key(&n).set(task, n * n));
    }
}

/// S-3, F-10, F-19: a tree is done when all of its branches and rounds are.
#[test]
fn a_stream_waits_for_all_branches_and_rounds() {
    for seed in 0..10 {
        let simulation = Simulation::seed(seed)
            .tasks(4)
            .machines(1 + seed as u32 % 2);
        simulation.run(Walks, move |cluster| async move {
            cluster.calm().await;
            for n in 0..8 {
                cluster.depot(NUMBERS).append(&n).await.unwrap();
                let found = cluster.pstate(FOUND).select(FOUND.key(&n)).await.unwrap();
                let stored = cluster.pstate(STORED).select(STORED.key(&n)).await.unwrap();
                assert_eq!((found, stored), (Some(n + 1), Some(n * n)), "seed {seed}");
            }
        });
    }
}

struct Deadlock;

impl Module for Deadlock {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random());
        m.stream("loop")
            .source(NUMBERS)
            .append(NUMBERS, AckLevel::Ack, |n| *n)
            .query(FIBONACCI, |n| *n)
            .done();
    }
}

/// D-32, §19: what would wait for itself, and what does not exist, is found at definition.
#[test]
fn what_would_wait_for_ever_is_no_definition() {
    let text = Definition::of(&Deadlock).unwrap_err().to_string();
    assert!(
        text.contains("waits until this topology has processed the record"),
        "{text}"
    );
    assert!(text.contains("query fibonacci in topology loop"), "{text}");
}
