//! Trimmed depots in simulated clusters (spec §1.6).

use std::collections::BTreeMap;

use super::*;
use crate::mutants::Mutant;
use crate::schema::Map;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, ErrorKind, Module, PState, Partition as By, Setup, SourceOptions};

const ITEMS: Depot<(u64, u64)> = Depot::named("*items");
const EXACT: PState<Map<u64, u64>> = PState::named("$$exact");
const STREAMED: PState<Map<u64, u64>> = PState::named("$$streamed");
const LATER: PState<Map<u64, u64>> = PState::named("$$later");

/// Counts items in a microbatch and a stream, and from some version on in a third topology.
struct Counting {
    later: bool,
}

impl Module for Counting {
    fn define(&self, m: &mut Setup) {
        m.depot(ITEMS, By::hash_by(|item: &(u64, u64)| item.0));
        let mut exact = m.microbatch("exact");
        let counts = exact.pstate(EXACT).unaligned();
        let options = SourceOptions::new().start_from_beginning();
        exact
            .source_with(ITEMS, options)
            .each(move |task, (_, item)| counts.key(&item).update(task, |n| n.unwrap_or(0) + 1));
        let mut stream = m.stream("streamed");
        let counts = stream.pstate(STREAMED).unaligned();
        let options = SourceOptions::new().start_from_beginning();
        stream
            .source_with(ITEMS, options)
            .each(move |task, (_, item)| counts.key(&item).update(task, |n| n.unwrap_or(0) + 1));
        if self.later {
            let mut later = m.microbatch("later");
            let counts = later.pstate(LATER).unaligned();
            let options = SourceOptions::new().start_from_beginning();
            later
                .source_with(ITEMS, options)
                .each(move |task, (_, item)| counts.key(&item).set(task, 1));
        }
    }
}

const COUNTING: Counting = Counting { later: false };

/// One partition, looked at every second, with these options of the depot.
fn trimmed(seed: u64, options: &[(&str, u64)]) -> Simulation {
    let module = || Level::Module;
    let mut settings = Settings::new().with(module(), "depot.trim.interval.seconds", 1);
    for (option, value) in options {
        settings = settings.with(Level::Depot("*items".to_owned()), option, *value);
    }
    Simulation::seed(seed).tasks(1).threads(1).options(settings)
}

const ENTRIES: &str = "depot.max.entries.per.partition";
const EXCESS: &str = "depot.excess.proportion";

async fn append(cluster: &SimulatedCluster, items: std::ops::Range<u64>) {
    for item in items {
        let appended = cluster
            .depot(ITEMS)
            .append_with(&(item, item), AckLevel::AppendAck);
        appended.await.unwrap();
    }
}

async fn range(cluster: &SimulatedCluster) -> std::ops::Range<u64> {
    cluster.depot(ITEMS).partition_info(0).await.unwrap()
}

async fn rounds(cluster: &SimulatedCluster, count: u32) {
    cluster.sleep(Duration::from_millis(1_100) * count).await;
}

async fn settle(cluster: &SimulatedCluster) {
    let topologies = || cluster.status().modules[0].topologies.clone();
    while topologies().iter().any(|topology| topology.lag > 0) {
        cluster.sleep(Duration::from_millis(5)).await;
    }
    // What is decided counts as done; every task makes it visible a moment later.
    cluster.sleep(Duration::from_millis(100)).await;
}

async fn counts(cluster: &SimulatedCluster, pstate: PState<Map<u64, u64>>) -> BTreeMap<u64, u64> {
    let all = pstate.routed_by(&0_u64).first_n(10_000);
    let found = cluster.pstate(pstate).select(all).await.unwrap();
    found.into_iter().collect()
}

/// D-24, D-25, D-37, D-38: beyond the excess the newest M stay; what is gone is refused by name.
#[test]
fn a_partition_keeps_its_newest_records() {
    trimmed(1, &[(ENTRIES, 10), (EXCESS, 50)]).run(COUNTING, |cluster| async move {
        cluster.calm().await;
        append(&cluster, 0..15).await;
        settle(&cluster).await;
        rounds(&cluster, 2).await;
        assert_eq!(range(&cluster).await, 0..15, "within the excess");
        append(&cluster, 15..16).await;
        settle(&cluster).await;
        rounds(&cluster, 2).await;
        assert_eq!(range(&cluster).await, 6..16);
        let refused = cluster.depot(ITEMS).read(0, 5..8).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains("it holds 6..16"), "{refused}");
        assert_eq!(cluster.depot(ITEMS).read(0, 6..8).await.unwrap().len(), 2);
        cluster.power_cut().await;
        assert_eq!(range(&cluster).await, 6..16, "after a power cut");
        append(&cluster, 16..17).await;
        settle(&cluster).await;
        assert_eq!(counts(&cluster, EXACT).await.len(), 17);
    });
}

/// D-37 is live: the option trims a depot of a running module that had none.
#[test]
fn a_limit_is_set_on_a_running_module() {
    trimmed(1, &[]).run(COUNTING, |cluster| async move {
        cluster.calm().await;
        append(&cluster, 0..20).await;
        settle(&cluster).await;
        rounds(&cluster, 2).await;
        assert_eq!(range(&cluster).await, 0..20);
        cluster.set_option(Level::Depot("*items".to_owned()), ENTRIES, 10);
        rounds(&cluster, 2).await;
        assert_eq!(range(&cluster).await, 10..20);
    });
}

/// D-39: what the stream or the microbatch has not processed stays.
#[test]
fn what_a_topology_needs_stays() {
    for lagging in ["exact", "streamed"] {
        trimmed(1, &[(ENTRIES, 10)]).run(COUNTING, |cluster| async move {
            cluster.calm().await;
            append(&cluster, 0..5).await;
            settle(&cluster).await;
            cluster.pause("Counting", lagging).await.unwrap();
            append(&cluster, 5..60).await;
            rounds(&cluster, 3).await;
            assert_eq!(range(&cluster).await, 5..60, "{lagging} is paused");
            cluster.resume("Counting", lagging).await.unwrap();
            settle(&cluster).await;
            rounds(&cluster, 3).await;
            assert_eq!(range(&cluster).await, 50..60);
            for pstate in [EXACT, STREAMED] {
                let counts = counts(&cluster, pstate).await;
                assert_eq!(counts.len(), 60);
                assert!(counts.values().all(|count| *count == 1));
            }
        });
    }
}

/// D-39, the other way: a topology that nobody waits for goes on at the first record still there.
#[test]
fn a_topology_that_is_not_waited_for_jumps() {
    for lagging in ["exact", "streamed"] {
        let mut settings = Settings::new().with(Level::Module, "depot.trim.interval.seconds", 1);
        for (option, value) in [
            (ENTRIES, serde_json::json!(10)),
            ("depot.trim.coordinate.local.topologies", false.into()),
        ] {
            settings = settings.with(Level::Module, option, value);
        }
        let simulation = Simulation::seed(1).tasks(1).threads(1).options(settings);
        simulation.run(COUNTING, |cluster| async move {
            cluster.calm().await;
            append(&cluster, 0..5).await;
            settle(&cluster).await;
            cluster.pause("Counting", lagging).await.unwrap();
            append(&cluster, 5..60).await;
            rounds(&cluster, 3).await;
            assert_eq!(range(&cluster).await, 50..60);
            cluster.resume("Counting", lagging).await.unwrap();
            settle(&cluster).await;
            let pstate = if lagging == "exact" { EXACT } else { STREAMED };
            let found = counts(&cluster, pstate).await;
            let expected: BTreeMap<u64, u64> = (0..5).chain(50..60).map(|n| (n, 1)).collect();
            assert_eq!(found, expected, "{lagging}");
            append(&cluster, 60..61).await;
            settle(&cluster).await;
            assert_eq!(counts(&cluster, pstate).await.len(), 16, "{lagging}");
        });
    }
}

/// Issue 4.9: by age, with the excess on top.
#[test]
fn a_partition_is_trimmed_by_age() {
    let options = [("depot.max.age.millis", 10_000), (EXCESS, 50)];
    trimmed(1, &options).run(COUNTING, |cluster| async move {
        cluster.calm().await;
        append(&cluster, 0..5).await;
        cluster.sleep(Duration::from_secs(4)).await;
        append(&cluster, 5..10).await;
        cluster.sleep(Duration::from_secs(8)).await;
        assert_eq!(range(&cluster).await.start, 0, "within the excess");
        cluster.sleep(Duration::from_secs(5)).await;
        assert_eq!(range(&cluster).await, 10..10);
        append(&cluster, 10..11).await;
        settle(&cluster).await;
        assert_eq!(counts(&cluster, EXACT).await.len(), 11);
    });
}

/// Issue 4.9: by bytes, within a part of the limit, and the same over restarts.
#[test]
fn a_partition_is_trimmed_by_bytes() {
    const RECORD: u64 = 16;
    let limit = 100_000;
    let options = [("depot.max.bytes.per.partition", limit), (EXCESS, 10)];
    for seed in 0..3 {
        trimmed(seed, &options).run(COUNTING, |cluster| async move {
            cluster.calm().await;
            let items: Vec<(u64, u64)> = (0..40_000).map(|item| (item, 0)).collect();
            for part in items.chunks(1000) {
                let ack = AckLevel::AppendAck;
                cluster.depot(ITEMS).append_many(part, ack).await.unwrap();
                if cluster.random_u64().is_multiple_of(4) {
                    rounds(&cluster, 1).await;
                }
                if cluster.random_u64().is_multiple_of(8) {
                    cluster.power_cut().await;
                }
            }
            settle(&cluster).await;
            rounds(&cluster, 3).await;
            let range = range(&cluster).await;
            assert_eq!(range.end, 40_000, "seed {seed}");
            let bytes = (range.end - range.start) * RECORD;
            let most = limit * 110 / 100 + 2 * bytes::STEP_BYTES_MIN;
            assert!(
                (limit..=most).contains(&bytes),
                "seed {seed}: {bytes} bytes"
            );
        });
    }
}

/// 20.13, D-38: a topology that is new starts at the M-th newest record, not at the first.
#[test]
fn a_new_topology_begins_at_what_is_kept_for_sure() {
    trimmed(1, &[(ENTRIES, 10), (EXCESS, 1000)]).run(COUNTING, |cluster| async move {
        cluster.calm().await;
        append(&cluster, 0..30).await;
        settle(&cluster).await;
        rounds(&cluster, 2).await;
        assert_eq!(range(&cluster).await, 0..30);
        cluster.update(Counting { later: true }).await.unwrap();
        settle(&cluster).await;
        let found = counts(&cluster, LATER).await;
        assert!(found.keys().copied().eq(20..30), "{found:?}");
    });
}

/// Every record is counted once, while old ones are trimmed at once and the power goes.
fn count_over_cuts(seed: u64, mutant: Option<Mutant>) {
    let simulation = trimmed(seed, &[(ENTRIES, 1), (EXCESS, 0)]);
    let simulation = simulation.faults(Faults::power_cuts()).mutant(mutant);
    simulation.run(COUNTING, |cluster| async move {
        let (mut sure, mut start) = (Vec::new(), 0);
        for item in 0..40 {
            let depot = cluster.depot(ITEMS);
            match depot.append_with(&(item, item), AckLevel::AppendAck).await {
                Ok(_) => sure.push(item),
                Err(_) => cluster.sleep(Duration::from_millis(5)).await,
            }
            if let Ok(range) = depot.partition_info(0).await {
                assert!(range.start >= start, "a trimmed record came back");
                start = range.start;
            }
            if item % 8 == 0 {
                let pause = Duration::from_millis(cluster.random_u64() % 1_500);
                cluster.sleep(pause).await;
            }
        }
        cluster.calm().await;
        settle(&cluster).await;
        rounds(&cluster, 2).await;
        let range = range(&cluster).await;
        assert!(range.end - range.start <= 1 && range.start >= start);
        let (exact, streamed) = (
            counts(&cluster, EXACT).await,
            counts(&cluster, STREAMED).await,
        );
        for item in sure {
            assert_eq!(exact.get(&item), Some(&1), "seed {seed}, item {item}");
            assert!(streamed.contains_key(&item), "seed {seed}, item {item}");
        }
        assert!(exact.values().all(|count| *count == 1), "seed {seed}");
    });
}

#[test]
fn no_record_is_trimmed_before_it_is_processed_over_power_cuts() {
    for seed in 0..40 {
        count_over_cuts(seed, None);
    }
    let survives = |seed| {
        let run = || count_over_cuts(seed, Some(Mutant::TrimUnconsumed));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
    };
    assert!(
        !(0..1_000).all(survives),
        "trimming that waits for nobody survives"
    );
}
