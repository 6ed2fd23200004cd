//! Dead letters over power cuts: one for each record that is given up, none lost, none replayed
//! twice.
//!
//! Relies on the simulator, and on reading source depots and dead-letter depots like any client.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use rama_wire::Record;

use super::{DeadLetterRecord, DeadLetterV1};
use crate::setup::Setup;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, Module, Partition, SourceOptions};

const WORK: Depot<u64> = Depot::named("*work");
const TOPOLOGIES: [&str; 3] = ["stream", "ordered", "exact"];

/// Whether a value cannot be borne.
fn is_poison(value: u64) -> bool {
    value.is_multiple_of(5)
}

/// Three topologies that give up a fifth of all values after one retry.
struct Giver;

impl Module for Giver {
    fn define(&self, m: &mut Setup) {
        m.depot(WORK, Partition::random());
        let soon = Duration::from_millis(2);
        let refuse = |task: &crate::Task, value: u64| {
            if is_poison(value) {
                task.fail("poison");
            }
        };
        let options = || {
            SourceOptions::new()
                .start_from_beginning()
                .retries(1)
                .backoff(soon, soon)
        };
        m.stream("stream")
            .source_with(WORK, options())
            .hash_partition(|value| value)
            .each(refuse);
        m.stream("ordered")
            .source_with(WORK, options().retry_all_after())
            .each(refuse);
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(1)
            .backoff(soon, soon);
        m.microbatch("exact")
            .source_with(WORK, options)
            .hash_partition(|value| value)
            .each(refuse);
    }
}

async fn settle(cluster: &SimulatedCluster) {
    loop {
        let status = cluster.status();
        if status.modules[0]
            .topologies
            .iter()
            .all(|found| found.lag == 0)
        {
            return;
        }
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

async fn append(cluster: &SimulatedCluster, values: std::ops::Range<u64>) {
    for value in values {
        let appended = cluster.depot(WORK).append_with(&value, AckLevel::AppendAck);
        if appended.await.is_err() {
            cluster.sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Where every poison record stands, with its value.
async fn poison(cluster: &SimulatedCluster) -> Vec<(u32, u64, u64)> {
    let depot = cluster.depot(WORK);
    let mut found = Vec::new();
    for partition in 0..depot.partitions().unwrap() {
        let range = depot.partition_info(partition).await.unwrap();
        let values = depot.read(partition, range.clone()).await.unwrap();
        let records = range.zip(values).filter(|(_, value)| is_poison(*value));
        found.extend(records.map(|(offset, value)| (partition, offset, value)));
    }
    found
}

/// Everything in the dead-letter depot of a topology.
async fn buried(cluster: &SimulatedCluster, topology: &str) -> Vec<DeadLetterV1> {
    let depot = cluster.dead_letter_depot("Giver", topology, WORK.name());
    let mut found = Vec::new();
    for partition in 0..depot.partitions().unwrap() {
        let range = depot.partition_info(partition).await.unwrap();
        for letter in depot.read(partition, range).await.unwrap() {
            let DeadLetterRecord::V1(letter) = letter;
            found.push(*letter);
        }
    }
    found
}

fn gives_up_each_once(seed: u64) {
    let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
    simulation.run(Giver, |cluster| async move {
        append(&cluster, 0..80).await;
        cluster.calm().await;
        settle(&cluster).await;
        let expected = poison(&cluster).await;
        for topology in TOPOLOGIES {
            let mut letters = Vec::new();
            for letter in buried(&cluster, topology).await {
                // More when it failed behind another one that was tried again.
                assert!(
                    letter.depot == "*work" && letter.attempts >= 2,
                    "{letter:?}"
                );
                let record = letter.record.expect("a letter carries its record");
                let value = u64::decode(&record).unwrap();
                letters.push((letter.partition, letter.offset, value));
            }
            letters.sort_unstable();
            assert_eq!(letters, expected, "seed {seed}, {topology}");
        }
        let open = cluster.dead_letters("Giver").await.unwrap();
        assert_eq!(open.len(), TOPOLOGIES.len() * expected.len(), "seed {seed}");
        let ids: BTreeSet<&String> = open.iter().map(|letter| &letter.id).collect();
        assert_eq!(ids.len(), open.len(), "seed {seed}: ids are not unique");
        for letter in &open {
            let place = (
                letter.partition,
                letter.offset,
                letter.data.as_u64().unwrap(),
            );
            assert!(expected.contains(&place), "seed {seed}: {letter:?}");
        }
    });
}

/// Whenever the power goes, in every mode: a poison record is in the dead-letter depot once.
#[test]
fn a_record_that_is_given_up_has_one_letter_whenever_the_power_goes() {
    for seed in 0..60 {
        gives_up_each_once(seed);
    }
}

/// A replay on the record's own thread and the end of its letter are one write.
#[test]
fn a_replay_that_a_power_cut_interrupts_happens_once_or_not_at_all() {
    let (mut replayed_ever, mut left_ever) = (0, 0);
    for seed in 0..60 {
        let faults = Faults {
            power_cuts: 0,
            ..Faults::power_cuts()
        };
        let simulation = Simulation::seed(seed).faults(faults);
        let (replayed, left) = simulation
            .run(Giver, |cluster| async move {
                cluster.calm().await;
                append(&cluster, 0..30).await;
                settle(&cluster).await;
                let before = poison(&cluster).await;
                let of_stream = |letters: Vec<crate::DeadLetter>| {
                    let letters = letters.into_iter();
                    letters.filter(|letter| letter.topology == "stream")
                };
                let letters = cluster.dead_letters("Giver").await.unwrap();
                let ids: Vec<String> = of_stream(letters).map(|letter| letter.id).collect();
                assert_eq!(ids.len(), before.len());
                let within = Duration::from_nanos(cluster.random_u64() % 600_000);
                let replay = pin!(cluster.replay_dead_letters("Giver", &ids));
                let _ = select(replay, pin!(cluster.sleep(within))).await;
                cluster.power_cut().await;
                settle(&cluster).await;
                let after = poison(&cluster).await;
                let letters = cluster.dead_letters("Giver").await.unwrap();
                let left = of_stream(letters)
                    .filter(|letter| ids.contains(&letter.id))
                    .count();
                assert_eq!(after.len() + left, 2 * before.len(), "seed {seed}");
                (after.len() - before.len(), left)
            })
            .value;
        replayed_ever += replayed;
        left_ever += left;
    }
    assert!(
        replayed_ever > 0 && left_ever > 0,
        "{replayed_ever} replayed, {left_ever} left"
    );
}

/// Letters lie in the order in which they were given up; settled ones go when all before them did.
#[test]
fn settled_letters_are_trimmed_up_to_the_first_open_one() {
    let simulation = Simulation::seed(3).tasks(1).threads(1);
    simulation.run(Giver, |cluster| async move {
        cluster.calm().await;
        append(&cluster, 0..20).await;
        settle(&cluster).await;
        let depot = cluster.dead_letter_depot("Giver", "ordered", WORK.name());
        assert_eq!(depot.partition_info(0).await.unwrap(), 0..4);
        let letters = cluster.dead_letters("Giver").await.unwrap();
        let letters = letters
            .into_iter()
            .filter(|found| found.topology == "ordered");
        let ids: Vec<String> = letters.map(|letter| letter.id).collect();
        for (dropped, start) in [(&ids[1..2], 0), (&ids[0..1], 2), (&ids[2..4], 4)] {
            let count = dropped.len() as u64;
            assert_eq!(
                cluster.drop_dead_letters("Giver", dropped).await.unwrap(),
                count
            );
            assert_eq!(
                cluster.drop_dead_letters("Giver", dropped).await.unwrap(),
                0
            );
            assert_eq!(depot.partition_info(0).await.unwrap(), start..4);
            let rest = depot.read(0, start..4).await.unwrap();
            assert!(
                rest.iter()
                    .is_sorted_by_key(|DeadLetterRecord::V1(letter)| letter.offset)
            );
        }
    });
}

/// A list goes on from page to page, over all tasks.
#[test]
fn a_long_list_comes_whole_and_in_order() {
    Simulation::seed(5).run(Giver, |cluster| async move {
        cluster.calm().await;
        let values: Vec<u64> = (0..1500).map(|value| value * 5).collect();
        let appended = cluster
            .depot(WORK)
            .append_many(&values, AckLevel::AppendAck);
        appended.await.unwrap();
        settle(&cluster).await;
        let letters = cluster.dead_letters("Giver").await.unwrap();
        let exact = letters.iter().filter(|letter| letter.topology == "exact");
        let places: Vec<_> = exact.map(|found| (found.partition, found.offset)).collect();
        assert_eq!((letters.len(), places.len()), (4500, 1500));
        assert!(places.is_sorted());
    });
}

/// Letters of a microbatch are on task 0; their records, wherever they stand, come back there.
#[test]
fn records_of_other_machines_are_carried_and_replayed() {
    for seed in 0..10 {
        let several = Simulation::seed(seed).threads(4).machines(4);
        several.run(Giver, |cluster| async move {
            cluster.calm().await;
            append(&cluster, 0..40).await;
            settle(&cluster).await;
            let before = poison(&cluster).await;
            let letters = buried(&cluster, "exact").await;
            assert_eq!(letters.len(), 8);
            assert!(letters.iter().all(|letter| letter.record.is_some()));
            let open = cluster.dead_letters("Giver").await.unwrap();
            let open = open.iter().filter(|letter| letter.topology == "exact");
            let ids: Vec<String> = open.map(|letter| letter.id.clone()).collect();
            assert_eq!(cluster.replay_dead_letters("Giver", &ids).await.unwrap(), 8);
            settle(&cluster).await;
            assert_eq!(
                poison(&cluster).await.len(),
                2 * before.len(),
                "seed {seed}"
            );
            assert_eq!(cluster.replay_dead_letters("Giver", &ids).await.unwrap(), 0);
        });
    }
}
