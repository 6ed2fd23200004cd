//! What topologies append to depots: once from microbatches, together with their writes.

use std::collections::BTreeMap;

use rama_wire::{Key, Record};

use super::*;
use crate::ErrorKind;
use crate::simulation::Simulated;

const ORDERS: Depot<(u64, u64)> = Depot::named("*orders");
const SHIPPED: Depot<(u64, u64)> = Depot::named("*shipped");
const AUDIT: Depot<u64> = Depot::named("*audit");
/// By task: what was shipped there.
const COUNTS: PState<Map<u64, u64>> = PState::named("$$counts");
/// Counted by a topology that reads what the other appends.
const HEARD: PState<Map<u64, u64>> = PState::named("$$heard");

/// Orders hop to their goods and are appended there, and again to an audit where they came from.
struct Shop {
    fails_one_in: u64,
}

impl Module for Shop {
    fn define(&self, m: &mut Setup) {
        let one_in = self.fails_one_in;
        m.depot(ORDERS, Partition::hash_by(|order: &(u64, u64)| order.0));
        let shipped = m.depot(SHIPPED, Partition::disallow()).handle();
        let audit = m.depot(AUDIT, Partition::disallow()).handle();
        let mut shop = m.microbatch("shop");
        let counts = shop.pstate_placed(COUNTS, |task, tasks| *task as u32 % tasks);
        let options = || {
            SourceOptions::new()
                .start_from_beginning()
                .retries(u32::MAX)
                .backoff(Duration::ZERO, Duration::ZERO)
        };
        shop.source_with(ORDERS, options())
            .map(move |task, order| {
                audit.append(task, &order.1);
                order
            })
            .hash_partition(|(_, order)| order)
            .each(move |task, order| {
                if one_in > 0 && task.random_u64().is_multiple_of(one_in) {
                    task.fail("bad luck");
                }
                shipped.append(task, &order);
                let here = u64::from(task.id());
                counts.key(&here).update(task, |n| n.unwrap_or(0) + 1);
            });
        let mut listener = m.microbatch("listener");
        let heard = listener.pstate(HEARD);
        listener
            .source_with(SHIPPED, options())
            .each(move |task, (_, order)| heard.key(&order).update(task, |n| n.unwrap_or(0) + 1));
    }
}

async fn records<T: Record + Ord>(cluster: &SimulatedCluster, depot: Depot<T>) -> BTreeMap<T, u64> {
    let depot = cluster.depot(depot);
    let mut found = BTreeMap::new();
    for partition in 0..depot.partitions().unwrap() {
        let range = depot.partition_info(partition).await.unwrap();
        for record in depot.read(partition, range).await.unwrap() {
            *found.entry(record).or_default() += 1;
        }
    }
    found
}

/// Both only grow, and switch together: neither is ever seen ahead of the other.
async fn compare(cluster: &SimulatedCluster, partition: u32) {
    let depot = cluster.depot(SHIPPED);
    let key = u64::from(partition);
    let count = || cluster.pstate(COUNTS).select(COUNTS.key(&key));
    let end = || depot.partition_info(partition);
    if let (Ok(end), Ok(count)) = (end().await, count().await) {
        assert!(count.unwrap_or(0) >= end.end, "a record before its write");
    }
    if let (Ok(count), Ok(end)) = (count().await, end().await) {
        assert!(end.end >= count.unwrap_or(0), "a write before its record");
    }
}

fn ship(simulation: Simulation) -> Simulated<()> {
    simulation.run(Shop { fails_one_in: 40 }, |cluster| async move {
        let orders = cluster.depot(ORDERS);
        let partitions = orders.partitions().unwrap();
        for order in 0..60 {
            let appended = orders.append_with(&(order % 7, order), AckLevel::AppendAck);
            match appended.await.map_err(|error| error.kind()) {
                Ok(_) | Err(ErrorKind::Unknown) => {}
                Err(_) => cluster.sleep(Duration::from_millis(5)).await,
            }
            if order % 5 == 0 {
                let partition = (cluster.random_u64() % u64::from(partitions)) as u32;
                compare(&cluster, partition).await;
            }
        }
        cluster.calm().await;
        let lag = || cluster.status().modules[0].topologies.clone();
        while lag().iter().any(|topology| topology.lag > 0) {
            cluster.sleep(Duration::from_millis(5)).await;
        }
        // What is decided counts as done; every task makes it visible a moment later.
        cluster.sleep(Duration::from_millis(100)).await;
        let ordered = records(&cluster, ORDERS).await;
        assert_eq!(records(&cluster, SHIPPED).await, ordered);
        let mut audited = BTreeMap::new();
        for ((_, order), count) in &ordered {
            *audited.entry(*order).or_default() += count;
        }
        assert_eq!(records(&cluster, AUDIT).await, audited);
        for partition in 0..partitions {
            compare(&cluster, partition).await;
        }
        for (order, count) in audited {
            let heard = cluster.pstate(HEARD).select(HEARD.key(&order)).await;
            assert_eq!(heard.unwrap(), Some(count), "order {order}");
        }
    })
}

/// Issue 4.5, in place of D-34 and 20.5: appends of a microbatch are exactly once, over failed
/// attempts and power cuts on one machine or several.
#[test]
fn appends_of_microbatches_happen_once() {
    for seed in 0..60 {
        let cut = || Simulation::seed(seed).faults(Faults::power_cuts());
        let hash = ship(cut()).trace_hash;
        if seed < 3 {
            assert_eq!(ship(cut()).trace_hash, hash, "seed {seed}");
        }
        let several = Simulation::seed(seed).threads(4).machines(2);
        ship(several.faults(Faults::all()));
    }
}

/// The test above sees appends that come with the prepare, as D-34 allows.
#[test]
fn appends_of_an_attempt_that_is_given_up_are_seen() {
    let survives = |seed| {
        let mutant = Some(Mutant::AppendsOfPrepared);
        let run = || {
            let simulation = || Simulation::seed(seed).mutant(mutant);
            ship(simulation().faults(Faults::power_cuts()));
            ship(simulation().threads(4).machines(2).faults(Faults::all()));
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
    };
    assert!(!(0..200).all(survives));
}

const WORDS: Depot<String> = Depot::named("*words");
const LOUD: Depot<String> = Depot::named("*loud");
const ALERTS: Depot<String> = Depot::named("*alerts");
const SAID: PState<Map<String, u64>> = PState::named("$$said");

/// A stream that answers each word with a louder one, on the task of the louder one.
#[derive(Default)]
struct Echo {
    failed: Arc<AtomicU64>,
}

impl Module for Echo {
    fn define(&self, m: &mut Setup) {
        m.depot(WORDS, Partition::hash_by(String::clone));
        let loud = m.depot(LOUD, Partition::disallow()).handle();
        let global = m.depot(ALERTS, Partition::disallow()).global().handle();
        let failed = self.failed.clone();
        let mut stream = m.stream("echo");
        let said = stream.pstate(SAID);
        let options = SourceOptions::new().start_from_beginning().retries(1);
        stream
            .source_with(WORDS, options)
            .map(|_, word| word.to_uppercase())
            .hash_partition_by(|word| word)
            .each(move |task, word| {
                said.key(&word).update(task, |n| n.unwrap_or(0) + 1);
                loud.append(task, &word);
                if word == "TWICE" && failed.fetch_add(1, Relaxed) == 0 {
                    task.fail("not yet");
                }
                if word.starts_with("ALERT") {
                    global.append(task, &word);
                }
            });
    }
}

fn home(word: &str) -> u32 {
    let mut key = Vec::new();
    word.to_owned().encode_key(&mut key);
    rama_wire::hash::task_of(&key, 4)
}

/// D-30, D-33: a stream's appends go to the current task whatever the partitioner says, with the
/// writes of their event: what a failed event appended is gone with what it wrote.
#[test]
fn appends_of_a_stream_come_and_go_with_the_writes_of_their_event() {
    for seed in 0..10 {
        let echo = Echo::default();
        Simulation::seed(seed)
            .tasks(4)
            .run(echo, |cluster| async move {
                cluster.calm().await;
                let words = cluster.depot(WORDS);
                assert!(words.append(&"one".to_owned()).await.is_ok());
                assert!(words.append(&"twice".to_owned()).await.is_err());
                while cluster.status().modules[0].topologies[0].lag > 0 {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
                let expected: BTreeMap<(u32, String), u64> = ["ONE", "TWICE"]
                    .map(|word| ((home(word), word.to_owned()), 1))
                    .into();
                let loud = cluster.depot(LOUD);
                let mut found = BTreeMap::new();
                for partition in 0..4 {
                    let range = loud.partition_info(partition).await.unwrap();
                    for word in loud.read(partition, range).await.unwrap() {
                        *found.entry((partition, word)).or_default() += 1;
                    }
                }
                assert_eq!(found, expected, "seed {seed}");
                for word in ["ONE", "TWICE"] {
                    let said = cluster.pstate(SAID).select(SAID.key(word)).await;
                    assert_eq!(said.unwrap(), Some(1), "seed {seed}");
                }
            });
    }
}

/// D-6: a global depot has one partition; an append elsewhere says so instead of being lost.
#[test]
fn an_append_to_a_global_depot_away_from_task_0_fails_the_event() {
    let here = |task: bool| {
        let mut words = (0..).map(|n| format!("alert {n}"));
        let found = words.find(|word| (home(&word.to_uppercase()) == 0) == task);
        found.expect("words are for all tasks")
    };
    let (there, away) = (&here(true), &here(false));
    Simulation::seed(1)
        .tasks(4)
        .run(Echo::default(), |cluster| async move {
            cluster.calm().await;
            let words = cluster.depot(WORDS);
            words.append(there).await.unwrap();
            let error = words.append(away).await.unwrap_err();
            let text = format!("{error:#}");
            assert!(
                text.contains("could not append to *alerts on task"),
                "{text}"
            );
            assert!(text.contains("global_partition"), "{text}");
        });
}
