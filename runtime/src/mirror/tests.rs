//! Modules that use each other, in simulated clusters and in one process.

mod modules;
mod others;
mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits;
use crate::options::{Level, Settings};
use crate::schema::Map;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, ErrorKind, Module, PState, Partition, Query, Setup, SourceOptions};
use crate::{Appended, Start};

const EVENTS: Depot<(u64, u64)> = Depot::named("*events");
const SEEN: PState<Map<u64, u64>> = PState::named("$$seen");
const SEEN_OF: Query<u64, u64> = Query::named("seen-of");

/// Has events, and counts them by their keys.
struct Source;

impl Module for Source {
    fn define(&self, m: &mut Setup) {
        m.depot(EVENTS, Partition::hash_by(|event: &(u64, u64)| event.0));
        let mut s = m.stream("count");
        let seen = s.pstate(SEEN);
        let options = SourceOptions::new().start_from_beginning();
        s.source_with(EVENTS, options)
            .each(move |task, (key, _)| seen.key(&key).update(task, |n| n.unwrap_or(0) + 1));
        m.query(SEEN_OF, |q| {
            q.hash_partition(|key| key)
                .map(move |task, key| seen.key(&key).get(task).unwrap_or(0))
                .origin_partition()
        });
    }
}

const EXACT: PState<Map<u64, Vec<u64>>> = PState::named("$$exact");
const STREAMED: PState<Map<u64, Vec<u64>>> = PState::named("$$streamed");

/// Keeps the numbers of the other module's events by their keys, in two topologies.
struct Sink {
    start: Start,
}

const SINK: Sink = Sink {
    start: Start::Beginning,
};

impl Module for Sink {
    fn define(&self, m: &mut Setup) {
        let events = m.mirror("Source").depot(EVENTS);
        let mut exact = m.microbatch("exact");
        let kept = exact.pstate(EXACT);
        let options = SourceOptions::new().start(self.start).retries(u32::MAX);
        exact
            .source_with(events, options)
            .hash_partition(|(key, _)| key)
            .each(move |task, (key, number)| {
                kept.key(&key).update(task, |found| with(found, number));
            });
        let mut streamed = m.stream("streamed");
        let kept = streamed.pstate(STREAMED);
        let options = SourceOptions::new().start(self.start).retries(u32::MAX);
        streamed
            .source_with(events, options)
            .hash_partition(|(key, _)| key)
            .each(move |task, (key, number)| {
                kept.key(&key).update(task, |found| with(found, number));
            });
    }
}

fn with(found: Option<Vec<u64>>, number: u64) -> Vec<u64> {
    let mut found = found.unwrap_or_default();
    found.push(number);
    found
}

type Kept = BTreeMap<u64, Vec<u64>>;

async fn kept(cluster: &SimulatedCluster, pstate: PState<Map<u64, Vec<u64>>>) -> Kept {
    let mut kept = BTreeMap::new();
    for key in 0..8 {
        let read = cluster.pstate(pstate).select(pstate.key(&key)).await;
        if let Some(numbers) = read.unwrap() {
            kept.insert(key, numbers);
        }
    }
    kept
}

fn count(kept: &Kept) -> usize {
    kept.values().map(Vec::len).sum()
}

/// Appends until the record is taken for sure: a record may come twice.
async fn append(cluster: &SimulatedCluster, event: (u64, u64)) -> Appended {
    let depot = cluster.module("Source").depot(EVENTS);
    depot
        .append_with(&event, AckLevel::AppendAck)
        .await
        .unwrap()
}

async fn until(cluster: &SimulatedCluster, mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        cluster.sleep(Duration::from_millis(50)).await;
    }
}

/// O-9: with any numbers of tasks on both sides each record of each partition is
/// taken once, in order, over power cuts; by streams, too, as long as no event of theirs runs twice.
#[test]
fn each_record_is_taken_once_in_the_order_of_its_partition() {
    for (seed, (theirs, ours)) in (0..).zip([(8, 2), (2, 8), (4, 4), (1, 4), (8, 2), (2, 8)]) {
        let simulation = Simulation::seed(seed)
            .tasks(ours)
            .faults(Faults::power_cuts());
        simulation
            .beside(Source, theirs)
            .run(SINK, |cluster| async move {
                let mut taken: Kept = BTreeMap::new();
                for number in 0..80 {
                    let key = cluster.random_u64() % 8;
                    let depot = cluster.module("Source").depot(EVENTS);
                    let appended = depot.append_with(&(key, number), AckLevel::AppendAck).await;
                    if appended.is_ok() {
                        taken.entry(key).or_default().push(number);
                    }
                    let pause = Duration::from_millis(cluster.random_u64() % 20);
                    cluster.sleep(pause).await;
                }
                cluster.calm().await;
                let mut all: Kept = BTreeMap::new();
                let depot = cluster.module("Source").depot(EVENTS);
                for partition in 0..theirs {
                    let range = depot.partition_info(partition).await.unwrap();
                    for (key, number) in depot.read(partition, range).await.unwrap() {
                        all.entry(key).or_default().push(number);
                    }
                }
                for (key, numbers) in &taken {
                    assert!(numbers.iter().all(|number| all[key].contains(number)));
                }
                until(&cluster, async || {
                    count(&kept(&cluster, EXACT).await) >= count(&all)
                })
                .await;
                assert_eq!(kept(&cluster, EXACT).await, all, "seed {seed}");
                // A stream runs an event again after a crash; nothing is missing, and first sights are
                // in order.
                until(&cluster, async || {
                    count(&kept(&cluster, STREAMED).await) >= count(&all)
                })
                .await;
                for (key, numbers) in kept(&cluster, STREAMED).await {
                    let mut first = Vec::new();
                    for number in numbers {
                        if !first.contains(&number) {
                            first.push(number);
                        }
                    }
                    assert_eq!(first, all[&key], "seed {seed}, key {key}");
                }
            });
    }
}

/// mirrors begin where a source of their own module would, in the other module's offsets; X-7:
/// at the end means that what is there already is left out. Fixed at the first look.
#[test]
fn mirrors_begin_where_they_are_told_to() {
    for (start, first) in [
        (Start::Beginning, 0),
        (Start::End, 20),
        (Start::Offset(15), 15),
        (Start::RecordsAgo(4), 16),
        (Start::Timestamp(0), 0),
        (Start::Ago(Duration::from_secs(3600)), 0),
    ] {
        let simulation = Simulation::seed(3).tasks(2).beside(Source, 1);
        simulation.run(Idle, |cluster| async move {
            cluster.calm().await;
            for number in 0..20 {
                append(&cluster, (0, number)).await;
            }
            cluster.sleep(Duration::from_secs(1)).await;
            cluster.update(Named(Sink { start })).await.unwrap();
            cluster.sleep(Duration::from_secs(1)).await;
            cluster.power_cut().await;
            for number in 20..25 {
                append(&cluster, (0, number)).await;
            }
            until(&cluster, async || {
                count(&kept(&cluster, EXACT).await) >= 25 - first
            })
            .await;
            let expected = (first as u64..25).collect::<Vec<_>>();
            assert_eq!(kept(&cluster, EXACT).await[&0], expected, "{start:?}");
        });
    }
}

/// A module called `Sink`, first without anything in it.
struct Idle;

impl Module for Idle {
    fn define(&self, _: &mut Setup) {}

    fn name(&self) -> String {
        "Sink".to_owned()
    }
}

/// Another module under the name `Sink`.
struct Named<M>(M);

impl<M: Module> Module for Named<M> {
    fn define(&self, m: &mut Setup) {
        self.0.define(m);
    }

    fn name(&self) -> String {
        "Sink".to_owned()
    }
}

/// One partition, looked at every second; at most ten records of the other module's depot are kept.
fn trimmed() -> Simulation {
    let events = || Level::Depot("*events".to_owned());
    let settings = Settings::new()
        .with(Level::Module, "depot.trim.interval.seconds", 1)
        .with(events(), "depot.max.entries.per.partition", 10)
        .with(events(), "depot.excess.proportion", 0);
    Simulation::seed(5).tasks(1).threads(1).options(settings)
}

async fn theirs(cluster: &SimulatedCluster) -> std::ops::Range<u64> {
    let depot = cluster.module("Source").depot(EVENTS);
    depot.partition_info(0).await.unwrap()
}

/// D-39: a depot keeps what a mirror has not fetched, also over power cuts, and lets it go when it
/// has, and when the module with the mirror is gone.
#[test]
fn a_depot_keeps_what_a_mirror_has_not_fetched() {
    trimmed()
        .beside(Source, 1)
        .run(STUCK, |cluster| async move {
            cluster.calm().await;
            cluster.sleep(Duration::from_secs(1)).await;
            // More than a mirror takes while its topology has processed nothing.
            let many = limits::EXTERNAL_BACKLOG_MAX + 3 * limits::EXTERNAL_FETCH_MAX as u64;
            let depot = cluster.module("Source").depot(EVENTS);
            for chunk in 0..many / 4096 {
                let events: Vec<(u64, u64)> = (0..4096).map(|n| (0, chunk * 4096 + n)).collect();
                depot
                    .append_many(&events, AckLevel::AppendAck)
                    .await
                    .unwrap();
            }
            cluster.sleep(Duration::from_secs(10)).await;
            let held = theirs(&cluster).await;
            assert!(held.start > 0 && held.start < held.end - 10, "{held:?}");
            cluster.power_cut().await;
            cluster.sleep(Duration::from_secs(10)).await;
            assert_eq!(theirs(&cluster).await, held, "after a power cut");
            // The topology is gone with its mirror.
            let gone = cluster.update_deleting(Named(Idle), &["$$last"]);
            gone.await.unwrap();
            cluster.sleep(Duration::from_secs(5)).await;
            assert_eq!(theirs(&cluster).await.start, held.end - 10);
        });
}

const LAST: PState<Map<u64, (u64, u64)>> = PState::named("$$last");

/// A mirror whose only topology never gets anywhere, or counts and keeps the last number.
struct Stuck {
    works: bool,
}

const STUCK: Stuck = Stuck { works: false };

impl Module for Stuck {
    fn define(&self, m: &mut Setup) {
        let works = self.works;
        let events = m.mirror("Source").depot(EVENTS);
        let mut stuck = m.microbatch("stuck");
        let last = stuck.pstate(LAST).unaligned();
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(u32::MAX)
            .backoff(Duration::from_secs(1), Duration::from_secs(1));
        stuck
            .source_with(events, options)
            .each(move |task, (_, number)| {
                if !works {
                    task.fail("not today");
                }
                last.key(&0)
                    .update(task, |found| (found.unwrap_or_default().0 + 1, number));
            });
    }

    fn name(&self) -> String {
        "Sink".to_owned()
    }
}

/// D-39: an operator may let a depot go without mirrors; one that lags goes on at the first record
/// still there.
#[test]
fn a_mirror_that_nobody_waits_for_goes_on_at_the_first_record_that_is_there() {
    let events = Level::Depot("*events".to_owned());
    let alone = "depot.trim.coordinate.remote.topologies";
    let mut simulation = trimmed();
    simulation.options = simulation.options.with(events, alone, false);
    simulation
        .beside(Source, 1)
        .run(STUCK, |cluster| async move {
            cluster.calm().await;
            cluster.sleep(Duration::from_secs(1)).await;
            let many = limits::EXTERNAL_BACKLOG_MAX + 3 * limits::EXTERNAL_FETCH_MAX as u64;
            let depot = cluster.module("Source").depot(EVENTS);
            for chunk in 0..many / 4096 {
                let events: Vec<(u64, u64)> = (0..4096).map(|n| (0, chunk * 4096 + n)).collect();
                depot
                    .append_many(&events, AckLevel::AppendAck)
                    .await
                    .unwrap();
            }
            cluster.sleep(Duration::from_secs(10)).await;
            assert_eq!(theirs(&cluster).await, many - 10..many);
            // Let go, the mirror takes what it had fetched, and then the first that is left.
            cluster.update(Stuck { works: true }).await.unwrap();
            until(&cluster, async || {
                let last = cluster.pstate(LAST).select(LAST.key(&0)).await.unwrap();
                last.is_some_and(|(_, number)| number == many - 1)
            })
            .await;
            let (taken, _) = cluster
                .pstate(LAST)
                .select(LAST.key(&0))
                .await
                .unwrap()
                .unwrap();
            assert!(taken > 10 && taken < many, "{taken} of {many}");
        });
}

/// a copy of a record is here until its topology has processed it, and no longer.
#[test]
fn a_copy_goes_when_it_is_processed() {
    trimmed().beside(Source, 1).run(SINK, |cluster| async move {
        cluster.calm().await;
        for number in 0..30 {
            append(&cluster, (0, number)).await;
        }
        until(&cluster, async || {
            count(&kept(&cluster, EXACT).await) == 30
                && count(&kept(&cluster, STREAMED).await) == 30
        })
        .await;
        cluster.sleep(Duration::from_secs(3)).await;
        for topology in ["exact", "streamed"] {
            let copy = super::copy_name(topology, "Source", "*events", None);
            let copy = crate::DepotClient::<(u64, u64)>::of(cluster.cluster(), None, copy);
            let left = copy.partition_info(0).await.unwrap();
            assert_eq!((left.start, left.end), (29, 30), "{topology}");
            let processed = cluster.processed_offsets("Sink", topology, "*Source/events");
            assert_eq!(processed.await.unwrap().first(), Some(&(0..30)));
        }
    });
}

/// D-17: an ACK append waits for the streams of its own module, not for those of others.
#[test]
fn an_append_never_waits_for_consumers_in_other_modules() {
    Simulation::seed(1)
        .beside(Source, 2)
        .run(STUCK, |cluster| async move {
            cluster.calm().await;
            let depot = cluster.module("Source").depot(EVENTS);
            depot.append(&(3, 1)).await.unwrap();
            let seen = cluster.pstate(SEEN).select(SEEN.key(&3)).await.unwrap();
            assert_eq!(seen, Some(1));
        });
}
