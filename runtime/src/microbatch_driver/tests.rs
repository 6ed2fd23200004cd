//! Records that fail a microbatch: how many attempts they cost, and who is given up for them.
//!
//! Relies on the simulator, and on modules that count what runs in cells their test holds.

mod appends;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::mutants::Mutant;
use crate::schema::Map;
use crate::setup::Setup;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, DeadLetter, Depot, Module, PState, Partition, SourceOptions};

const FIRST: Depot<(u64, u64)> = Depot::named("*first");
const SECOND: Depot<(u64, u64)> = Depot::named("*second");
const SEEN: PState<Map<u64, u64>> = PState::named("$$seen");

const RETRIES: u32 = 2;
const MARK: u64 = 1_000;

/// Whether a value cannot be borne.
fn is_poison(value: u64) -> bool {
    value.is_multiple_of(3)
}

/// Counts values by key; a third of them is poison, there or one hop further.
struct Picky {
    hop: bool,
    marked: Arc<AtomicU64>,
}

impl Module for Picky {
    fn define(&self, m: &mut Setup) {
        m.depot(FIRST, Partition::hash_by(|event: &(u64, u64)| event.0));
        let mut microbatch = m.microbatch("picky");
        let seen = microbatch.pstate(SEEN);
        let (hop, marked) = (self.hop, self.marked.clone());
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(RETRIES)
            .then_dead_letter();
        microbatch
            .source_with(FIRST, options)
            .map(move |task, (key, value)| {
                if value == MARK {
                    marked.fetch_add(1, Relaxed);
                }
                if !hop && is_poison(value) {
                    task.fail("poison");
                }
                (key, value)
            })
            .hash_partition(|(_, value)| value)
            .each(move |task, (_, value)| {
                seen.key(&value).update(task, |n| n.unwrap_or(0) + 1);
                if hop && is_poison(value) {
                    task.fail("poison");
                }
            });
    }
}

/// A value of the second depot wants the value of the first to be there, or not to be there.
struct Bound {
    /// So often the first depot's value fails after it was written.
    failures: u64,
    failed: Arc<AtomicU64>,
    wants: bool,
}

impl Module for Bound {
    fn define(&self, m: &mut Setup) {
        for depot in [FIRST, SECOND] {
            m.depot(depot, Partition::hash_by(|event: &(u64, u64)| event.0));
        }
        let mut microbatch = m.microbatch("bound");
        let seen = microbatch.pstate(SEEN);
        let (failures, failed, wants) = (self.failures, self.failed.clone(), self.wants);
        let options = |retries| SourceOptions::new().start_from_beginning().retries(retries);
        let first = options(if wants { 5 } else { 0 });
        microbatch
            .source_with(FIRST, first)
            .each(move |task, (key, value)| {
                seen.key(&key).set(task, value);
                if failed.load(Relaxed) < failures {
                    failed.fetch_add(1, Relaxed);
                    task.fail("not yet");
                }
            });
        microbatch
            .source_with(SECOND, options(0))
            .each(move |task, (key, _)| {
                if seen.key(&key).get(task).is_some() != wants {
                    task.fail("alone");
                }
            });
    }
}

async fn settle(cluster: &SimulatedCluster) {
    let lag = || cluster.status().modules[0].topologies[0].lag;
    while lag() > 0 {
        cluster.sleep(Duration::from_millis(5)).await;
    }
    // What is decided counts as done; every task makes it visible a moment later.
    cluster.sleep(Duration::from_millis(100)).await;
}

/// Appends while the topology is paused, so that all of it is one microbatch.
async fn process(cluster: &SimulatedCluster, records: &[(Depot<(u64, u64)>, u64, u64)]) {
    let status = cluster.status();
    let module = &status.modules[0].name;
    let topology = &status.modules[0].topologies[0].name;
    cluster.pause(module, topology).await.unwrap();
    for &(depot, key, value) in records {
        let depot = cluster.depot(depot);
        let appended = depot.append_with(&(key, value), AckLevel::AppendAck);
        appended.await.unwrap();
    }
    // The coordinator hears of the last record after whoever appended it does.
    cluster.sleep(Duration::from_millis(20)).await;
    cluster.resume(module, topology).await.unwrap();
    settle(cluster).await;
}

async fn letters(cluster: &SimulatedCluster) -> Vec<DeadLetter> {
    let module = cluster.status().modules[0].name.clone();
    cluster.dead_letters(&module).await.unwrap()
}

async fn seen(cluster: &SimulatedCluster, key: u64) -> Option<u64> {
    cluster.pstate(SEEN).select(SEEN.key(&key)).await.unwrap()
}

/// M-4 and the policy: ten poison records on several tasks cost as many attempts as two, wherever
/// they fail, and leave nothing behind; everything else counts once.
#[test]
fn many_poison_records_cost_no_more_attempts_than_two() {
    for seed in 0..20 {
        let marked = &Arc::new(AtomicU64::new(0));
        let module = Picky {
            hop: seed % 2 == 0,
            marked: marked.clone(),
        };
        Simulation::seed(seed).run(module, |cluster| async move {
            cluster.calm().await;
            let mut records = vec![(FIRST, 0, MARK)];
            records.extend((0..30).map(|value| (FIRST, value % 7, value)));
            process(&cluster, &records).await;
            for value in 0..30 {
                let expected = (!is_poison(value)).then_some(1);
                assert_eq!(seen(&cluster, value).await, expected, "seed {seed}");
            }
            let letters = letters(&cluster).await;
            assert_eq!(letters.len(), 10, "seed {seed}: {letters:?}");
            // One retry to know them all, the retries, one to leave the first out, one to commit.
            let most = u64::from(RETRIES) + 3;
            let attempts = marked.load(Relaxed);
            assert!(attempts <= most, "seed {seed}: {attempts} attempts");
        });
    }
}

/// The same whenever the power goes: each poison record gets one letter, nothing counts twice.
#[test]
fn many_poison_records_are_given_up_once_over_power_cuts() {
    for seed in 0..60 {
        let marked = Arc::default();
        let hop = seed % 2 == 0;
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(Picky { hop, marked }, |cluster| async move {
            let depot = cluster.depot(FIRST);
            let mut sure = Vec::new();
            for value in 0..60 {
                let appended = depot.append_with(&(value % 7, value), AckLevel::AppendAck);
                match appended.await {
                    Ok(_) => sure.push(value),
                    Err(_) => cluster.sleep(Duration::from_millis(5)).await,
                }
            }
            cluster.calm().await;
            settle(&cluster).await;
            let given_up = letters(&cluster).await;
            for value in 0..60 {
                let count = seen(&cluster, value).await.unwrap_or(0);
                let most = u64::from(!is_poison(value));
                let least = if sure.contains(&value) { most } else { 0 };
                assert!(
                    (least..=most).contains(&count),
                    "seed {seed}: {count} of {value}"
                );
                let letters = given_up.iter().filter(|found| found.data[1] == value);
                let letters = letters.count() as u64;
                assert!(letters <= 1 - most, "seed {seed}: {letters} of {value}");
                let sure = sure.contains(&value) && is_poison(value);
                assert!(letters == 1 || !sure, "seed {seed}: no letter of {value}");
            }
        });
    }
}

fn bound(
    module: Bound,
    records: &[(Depot<(u64, u64)>, u64, u64)],
    mutant: Option<Mutant>,
) -> usize {
    let simulation = Simulation::seed(1).mutant(mutant);
    let run = simulation.run(module, |cluster| async move {
        cluster.calm().await;
        process(&cluster, records).await;
        letters(&cluster).await.len()
    });
    run.value
}

/// A record that fails for want of another one, which is tried again, is not given up for it.
#[test]
fn a_record_that_fails_behind_another_stays_with_it() {
    let given_up = |mutant| {
        let module = Bound {
            failures: 2,
            failed: Arc::default(),
            wants: true,
        };
        bound(module, &[(FIRST, 1, 1), (SECOND, 1, 2)], mutant)
    };
    assert_eq!(given_up(None), 0);
    assert_eq!(given_up(Some(Mutant::DependentGivenUp)), 1);
}

/// A failed event leaves nothing behind that the next could fail of.
#[test]
fn a_thorough_attempt_undoes_what_fails() {
    let given_up = |mutant| {
        let module = Bound {
            failures: 2,
            failed: Arc::default(),
            wants: false,
        };
        let records = [(FIRST, 1, 1), (FIRST, 1, 2), (SECOND, 1, 3)];
        bound(module, &records, mutant)
    };
    assert_eq!(given_up(None), 2);
    assert_eq!(given_up(Some(Mutant::EventNotUndone)), 3);
}
