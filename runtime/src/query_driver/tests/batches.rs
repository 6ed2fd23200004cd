//! Batches in microbatches: two-phase aggregation into PStates, exactly once under faults.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::schema::Map;
use crate::setup::Setup;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, Module, PState, Partition, SourceOptions};

const PURCHASES: Depot<(u64, u64)> = Depot::named("*purchases");
const TOTALS: PState<Map<u64, u64>> = PState::named("$$totals");
const TOP: PState<Vec<(u64, u64)>> = PState::named("$$top").global();
const SUM: PState<u64> = PState::named("$$sum").global();
const REACHED: PState<Map<u32, u64>> = PState::named("$$reached");
/// Customers by the number of purchases in one batch.
const TOUCHED: PState<Map<u64, u64>> = PState::named("$$touched");

/// Spec §16.2 TopUsers, with a global sum and a count of batches on every task.
struct Shop {
    fails_one_in: u64,
}

impl Module for Shop {
    fn define(&self, m: &mut Setup) {
        m.depot(PURCHASES, Partition::random());
        let mut mb = m.microbatch("shop");
        let (totals, top, sum) = (mb.pstate(TOTALS), mb.pstate(TOP), mb.pstate(SUM));
        let (reached, touched) = (mb.pstate(REACHED), mb.pstate(TOUCHED));
        let one_in = self.fails_one_in;
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(u32::MAX)
            .backoff(Duration::ZERO, Duration::ZERO);
        mb.source_with(PURCHASES, options)
            .inspect(move |task, _| {
                if one_in > 0 && task.random_u64().is_multiple_of(one_in) {
                    task.fail("bad luck");
                }
            })
            .batch(|b| {
                b.branch(|all| {
                    all.global_partition().agg_into(sum, |of| of.sum(|p| p.1));
                })
                .branch(|all| {
                    all.all_partition()
                        .agg(|of| of.count())
                        .each(move |task, _| {
                            let path = reached.unaligned().key(&task.id());
                            path.update(task, |n| n.unwrap_or(0) + 1);
                        });
                })
                .group_by(|p| p.0)
                .agg_into(totals, |of| of.sum(|p| p.1))
                .new_values()
                .branch(|changed| {
                    changed.each(move |task, (user, _)| {
                        touched.key(&user).update(task, |n| n.unwrap_or(0) + 1);
                    });
                })
                .global_partition()
                .agg_into(top, |of| {
                    of.top(3, |&(_, total)| total).id(|&(user, _)| user)
                });
            });
    }
}

/// Waits until at least so many records, and all that are known, are processed: that a depot has grown
/// is known a moment after the append is acknowledged.
async fn settle(cluster: &SimulatedCluster, records: u64) {
    loop {
        let found = cluster.status().modules[0].topologies[0].clone();
        if found.lag == 0 && found.processed >= records {
            return;
        }
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

/// F-21, F-29, F-31, M-4: whatever fails, each purchase counts once everywhere,
/// and the top is sorted and exact whenever it is read.
#[test]
fn aggregates_are_exact_under_faults() {
    for seed in 0..40 {
        let faults = if seed % 2 == 0 {
            Faults::all()
        } else {
            Faults::none()
        };
        let tasks = [1, 2, 4, 8][seed as usize / 2 % 4];
        let module = Shop {
            fails_one_in: [0, 40][seed as usize / 8 % 2],
        };
        let simulation = Simulation::seed(seed).tasks(tasks).faults(faults);
        simulation.run(module, move |cluster| async move {
            let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
            let mut sure = 0;
            let depot = cluster.depot(PURCHASES);
            for n in 0..60u64 {
                let (user, cents) = (n * 7 % 11, 1 + n * 31 % 17);
                loop {
                    let appended = depot.append_with(&(user, cents), AckLevel::AppendAck).await;
                    match appended {
                        Ok(_) => {
                            sure += 1;
                            break;
                        }
                        // It may have happened: the sums below are then those of the PStates.
                        Err(error) if error.kind() == crate::ErrorKind::Unknown => {
                            expected.insert(u64::MAX, 1);
                            break;
                        }
                        Err(_) => cluster.sleep(Duration::from_millis(5)).await,
                    }
                }
                *expected.entry(user).or_default() += cents;
            }
            let unsure = expected.remove(&u64::MAX).is_some();
            cluster.calm().await;
            settle(&cluster, sure).await;
            check(&cluster, seed, tasks, (!unsure).then_some(&expected)).await;
        });
    }
}

async fn check(
    cluster: &SimulatedCluster,
    seed: u64,
    tasks: u32,
    expected: Option<&BTreeMap<u64, u64>>,
) {
    let mut totals = BTreeMap::new();
    for user in 0..11 {
        let total = cluster
            .pstate(TOTALS)
            .select(TOTALS.key(&user))
            .await
            .unwrap();
        if let Some(total) = total {
            totals.insert(user, total);
        }
    }
    if let Some(expected) = expected {
        assert_eq!(&totals, expected, "seed {seed}");
    }
    let sum = cluster.pstate(SUM).select(SUM.root()).await.unwrap();
    assert_eq!(sum, Some(totals.values().sum()), "seed {seed}");
    let mut best: Vec<(u64, u64)> = totals.into_iter().collect();
    best.sort_by_key(|&(_, total)| std::cmp::Reverse(total));
    best.truncate(3);
    let top = cluster.pstate(TOP).select(TOP.root()).await.unwrap();
    let top = top.unwrap_or_default();
    let values = |of: &[(u64, u64)]| of.iter().map(|found| found.1).collect::<Vec<_>>();
    assert_eq!(values(&top), values(&best), "seed {seed}: {top:?}");
    // F-29: an aggregation behind all_partition comes to every task, in every microbatch.
    let mut reached = Vec::new();
    for task in 0..tasks {
        let home = crate::testing::key_of_task(task, tasks);
        let path = REACHED.routed_by(&home).key(&task);
        reached.push(cluster.pstate(REACHED).select(path).await.unwrap());
    }
    reached.dedup();
    assert_eq!(reached.len(), 1, "seed {seed}: {reached:?}");
}
