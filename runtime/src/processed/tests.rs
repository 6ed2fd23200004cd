//! Progress as clients and tests see it, and the operations that tests steer a topology with.

use std::time::Duration;

use crate::options::Level;
use crate::schema::Map;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{
    AckLevel, Definition, Depot, ErrorKind, Module, PState, Partition, Setup, SourceOptions,
};

const ITEMS: Depot<(u64, u64)> = Depot::named("*items");
const TICKS: Depot<()> = Depot::named("*ticks");
const COUNTS: PState<Map<u64, u64>> = PState::named("$$counts");
/// Added by the second version.
const STREAMED: PState<Map<u64, u64>> = PState::named("$$streamed");

/// Items counted by the task of their key.
struct Counting {
    adds: u64,
}

impl Module for Counting {
    fn define(&self, m: &mut Setup) {
        let adds = self.adds;
        m.depot(ITEMS, Partition::hash_by(|item: &(u64, u64)| item.0));
        m.tick_depot(TICKS, Duration::from_millis(5));
        let mut exact = m.microbatch("exact");
        let counts = exact.pstate(COUNTS);
        let options = || SourceOptions::new().start_from_beginning();
        exact
            .source_with(ITEMS, options())
            .each(move |task, (key, _)| counts.key(&key).update(task, |n| n.unwrap_or(0) + adds));
        exact.source(TICKS).each(|_, ()| ());
        let mut stream = m.stream("streamed");
        let counts = stream.pstate(STREAMED);
        stream
            .source_with(ITEMS, SourceOptions::new().start_from_beginning())
            .each(move |task, (key, _)| counts.key(&key).update(task, |n| n.unwrap_or(0) + adds));
    }
}

async fn append(cluster: &SimulatedCluster, count: u64) {
    let items: Vec<(u64, u64)> = (0..count).map(|item| (item % 5, item)).collect();
    let items = cluster
        .depot(ITEMS)
        .append_many(&items, AckLevel::AppendAck);
    items.await.unwrap();
}

async fn total(cluster: &SimulatedCluster) -> u64 {
    let mut total = 0;
    for key in 0..5_u64 {
        let count = cluster.pstate(COUNTS).select(COUNTS.key(&key)).await;
        total += count.unwrap().unwrap_or(0);
    }
    total
}

async fn wait(cluster: &SimulatedCluster, count: u64) -> crate::Result<()> {
    let timeout = Duration::from_secs(10);
    cluster
        .wait_for_processed("Counting", "exact", count, timeout)
        .await
}

/// T-3: the wait is for records that are committed, since the first launch, ticks not counted; a
/// count that is not reached is an error with what was.
#[test]
fn a_test_waits_for_a_number_of_committed_records() {
    for seed in 0..10 {
        Simulation::seed(seed).run(Counting { adds: 1 }, |cluster| async move {
            cluster.calm().await;
            append(&cluster, 20).await;
            wait(&cluster, 20).await.unwrap();
            assert_eq!(total(&cluster).await, 20);
            cluster.update(Counting { adds: 1 }).await.unwrap();
            append(&cluster, 3).await;
            wait(&cluster, 23).await.unwrap();
            assert_eq!(total(&cluster).await, 23);
            let late = wait(&cluster, 24).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Unavailable);
            assert!(
                late.to_string().contains("has processed 23 of 24"),
                "{late}"
            );
        });
    }
}

/// T-4, M-15: pausing and resuming are idempotent, and decide what a microbatch consists of.
#[test]
fn a_pause_holds_however_often_it_is_said_and_ends_with_one_resume() {
    Simulation::seed(2).run(Counting { adds: 1 }, |cluster| async move {
        cluster.calm().await;
        for topology in ["exact", "streamed"] {
            for _ in 0..2 {
                cluster.pause("Counting", topology).await.unwrap();
            }
        }
        append(&cluster, 20).await;
        cluster.sleep(Duration::from_secs(1)).await;
        assert_eq!(total(&cluster).await, 0);
        let before = cluster.status().modules[0].topologies[0].microbatch_id;
        for topology in ["exact", "streamed"] {
            for _ in 0..2 {
                cluster.resume("Counting", topology).await.unwrap();
            }
        }
        wait(&cluster, 20).await.unwrap();
        assert_eq!(total(&cluster).await, 20);
        // Records that were there at the resume are one microbatch; ticks may have made others.
        assert!(cluster.status().modules[0].topologies[0].microbatch_id > before);
    });
}

/// T-2, 20.14: the same module again is a restart, other code of its name goes on where it was.
#[test]
fn an_update_keeps_progress_and_data() {
    for seed in 0..10 {
        Simulation::seed(seed).run(Counting { adds: 2 }, |cluster| async move {
            cluster.calm().await;
            append(&cluster, 1).await;
            wait(&cluster, 1).await.unwrap();
            assert_eq!(total(&cluster).await, 2);
            cluster.update(Counting { adds: 2 }).await.unwrap();
            assert_eq!(total(&cluster).await, 2);
            cluster.update(Counting { adds: 1 }).await.unwrap();
            append(&cluster, 1).await;
            wait(&cluster, 2).await.unwrap();
            assert_eq!(total(&cluster).await, 3);
        });
    }
}

/// M-16: what is told as processed can be read; in the end that is everything, also from another
/// machine and after power cuts.
#[test]
fn clients_learn_how_far_a_depot_is_processed() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).threads(4).machines(2);
        let simulation = simulation.faults(Faults::all());
        simulation.run(Counting { adds: 1 }, |cluster| async move {
            for item in 0..30_u64 {
                let ack = AckLevel::AppendAck;
                let _ = cluster
                    .depot(ITEMS)
                    .append_with(&(item % 5, item), ack)
                    .await;
            }
            let processed =
                |topology| cluster.processed_offsets("Counting", topology, ITEMS.name());
            if let Ok(processed) = processed("exact").await {
                let told: u64 = processed.iter().map(|range| range.end - range.start).sum();
                cluster.calm().await;
                assert!(total(&cluster).await >= told, "seed {seed}");
            }
            cluster.calm().await;
            let depot = cluster.depot(ITEMS);
            for partition in 0..depot.partitions().unwrap() {
                let range = depot.partition_info(partition).await.unwrap();
                for topology in ["exact", "streamed"] {
                    while processed(topology).await.unwrap()[partition as usize] != range {
                        cluster.sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            let unknown = cluster
                .processed_offsets("Counting", "exact", TICKS.name())
                .await
                .unwrap_err();
            assert_eq!(unknown.kind(), ErrorKind::NotFound);
        });
    }
}

/// Options as the code of a module sets them.
struct Opinionated;

const LINES: Depot<String> = Depot::named("*lines");

impl Module for Opinionated {
    fn define(&self, m: &mut Setup) {
        m.option("depot.trim.interval.seconds", 1);
        let items = m.depot(LINES, Partition::random());
        let _ = items.option("depot.max.entries.per.partition", 5);
        let mut stream = m.stream("lines");
        stream.option("topology.stream.timeout.seconds", 3);
        stream.source(LINES).done();
    }
}

/// O-15: options that the code sets hold from the first moment, until operators set others.
#[test]
fn the_code_of_a_module_sets_options() {
    Simulation::seed(1)
        .tasks(1)
        .threads(1)
        .run(Opinionated, |cluster| async move {
            cluster.calm().await;
            let lines = cluster.depot(LINES);
            for _ in 0..20 {
                lines.append(&"line".to_owned()).await.unwrap();
            }
            let range = || lines.partition_info(0);
            while range().await.unwrap() != (15..20) {
                cluster.sleep(Duration::from_millis(100)).await;
            }
        });
}

/// O-15: what may not be set is told with the other mistakes of a definition.
#[test]
fn options_that_do_nothing_are_refused_with_the_definition() {
    struct Wrong;
    impl Module for Wrong {
        fn define(&self, m: &mut Setup) {
            m.option("depot.max.entries.per.partitions", 5);
            let _ = m
                .depot(LINES, Partition::random())
                .option("topology.stream.timeout.seconds", 5);
            m.microbatch("lines")
                .option("topology.stream.timeout.seconds", 5);
        }
    }
    let text = Definition::of(&Wrong).unwrap_err().to_string();
    for part in [
        "has 3 mistakes",
        "option depot.max.entries.per.partitions of module has no effect",
        "did you mean depot.max.entries.per.partition?",
        "option topology.stream.timeout.seconds of depot *lines has no effect",
        "option topology.stream.timeout.seconds of topology lines has no effect",
        "tests.rs:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let level = Level::Depot("*lines".to_owned());
    let set = Definition::of(&Opinionated).unwrap().options;
    let found = set.get(&level, "depot.max.entries.per.partition");
    assert_eq!(found, Some(&serde_json::json!(5)));
}
