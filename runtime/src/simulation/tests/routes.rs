//! Every partitioner and every kind of depot in a module that runs, over several task threads.
//!
//! Relies on the client: what a test sees is what any program outside sees.

use std::collections::BTreeMap;

use rama_wire::{Key, hash};

use crate::dataflow::{Begin, Flow};
use crate::pstate::LocalPState;
use crate::schema::Map;
use crate::setup::Setup;
use crate::simulation::{SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, ErrorKind, Module, PState, Partition, SourceOptions, Stream};

const VALUES: Depot<u64> = Depot::named("*values");
const HASHED: Depot<u64> = Depot::named("*hashed");
const WHOLE: Depot<u64> = Depot::named("*whole");
const ANYWHERE: Depot<u64> = Depot::named("*anywhere");
const ECHOES: Depot<u64> = Depot::named("*echoes");

/// Which task saw which value how often.
type Seen = Map<(u32, u64), u64>;
const ALL: PState<Seen> = PState::named("$$all");
const GLOBAL: PState<Seen> = PState::named("$$global");
const SHUFFLED: PState<Seen> = PState::named("$$shuffled");
const DIRECT: PState<Seen> = PState::named("$$direct");
const CUSTOM: PState<Seen> = PState::named("$$custom");
const BY_KEY: PState<Seen> = PState::named("$$byKey");
const BY_PATH: PState<Seen> = PState::named("$$byPath");
const ECHOED: PState<Seen> = PState::named("$$echoed");
const STRAY: PState<Map<u64, u64>> = PState::named("$$stray");
/// Lives where its topology says.
const PLACED: PState<Map<u64, u64>> = PState::named("$$placed");

const COUNT: u64 = 16;
const TASKS: u32 = 4;

struct Routes;

fn from_start() -> SourceOptions<Stream> {
    SourceOptions::new().start_from_beginning()
}

/// Notes where each value is.
fn note(flow: Flow<Stream, u64, Begin, u64>, seen: LocalPState<Seen>) {
    flow.map(|task, value| (task.id(), value))
        .hash_partition(|seen| seen)
        .each(move |task, key| seen.key(&key).update(task, |n| n.unwrap_or(0) + 1));
}

impl Module for Routes {
    fn define(&self, m: &mut Setup) {
        m.depot(
            VALUES,
            Partition::custom(|value, tasks| *value as u32 % tasks),
        );
        m.depot(HASHED, Partition::hash_by(|value: &u64| *value));
        m.depot(WHOLE, Partition::random()).global();
        m.depot(ANYWHERE, Partition::random());
        let echoes = m.depot(ECHOES, Partition::disallow()).handle();
        let mut s = m.stream("all");
        let seen = s.pstate(ALL);
        note(s.source_with(VALUES, from_start()).all_partition(), seen);
        let mut s = m.stream("global");
        let seen = s.pstate(GLOBAL);
        note(s.source_with(VALUES, from_start()).global_partition(), seen);
        let mut s = m.stream("shuffled");
        let seen = s.pstate(SHUFFLED);
        note(
            s.source_with(VALUES, from_start()).shuffle_partition(),
            seen,
        );
        let mut s = m.stream("direct");
        let seen = s.pstate(DIRECT);
        let last = |value: &u64| TASKS - 1 - *value as u32 % TASKS;
        note(
            s.source_with(VALUES, from_start()).direct_partition(last),
            seen,
        );
        let mut s = m.stream("custom");
        let seen = s.pstate(CUSTOM);
        let quarter = |value: &u64, tasks: u32| (*value as u32 / 4) % tasks;
        note(
            s.source_with(VALUES, from_start())
                .custom_partition(quarter),
            seen,
        );
        let mut s = m.stream("byKey");
        let seen = s.pstate(BY_KEY);
        note(
            s.source_with(VALUES, from_start())
                .hash_partition(|value| value),
            seen,
        );
        let mut s = m.stream("byPath");
        let seen = s.pstate(BY_PATH);
        s.pstate_placed(PLACED, |key, tasks| (*key as u32 + 1) % tasks);
        let flow = s.source_with(VALUES, from_start());
        note(flow.path_partition(PLACED, |value| value), seen);
        m.stream("echo")
            .source_with(VALUES, from_start())
            .each(move |task, value| echoes.append(task, &value));
        let mut s = m.stream("echoed");
        let seen = s.pstate(ECHOED);
        note(
            s.source_with(ECHOES, from_start())
                .hash_partition(|value| value),
            seen,
        );
        let mut s = m.stream("stray");
        let stray = s.pstate(STRAY);
        let once = from_start().retries(0);
        s.source_with(HASHED, once)
            .direct_partition(|value| (hash_task(*value) + 1) % TASKS)
            .each(move |task, value| stray.key(&value).set(task, 1));
    }
}

fn hash_task(value: u64) -> u32 {
    let mut key = Vec::new();
    value.encode_key(&mut key);
    hash::task_of(&key, TASKS)
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
        cluster.sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// By value, the tasks that saw it, each as often as it did.
async fn seen(cluster: &SimulatedCluster, pstate: PState<Seen>) -> BTreeMap<u64, Vec<u32>> {
    let mut found: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for value in 0..COUNT {
        for task in 0..TASKS {
            let times = cluster
                .pstate(pstate)
                .select(pstate.key(&(task, value)))
                .await;
            for _ in 0..times.unwrap().unwrap_or(0) {
                found.entry(value).or_default().push(task);
            }
        }
    }
    found
}

fn expected(tasks: impl Fn(u64) -> Vec<u32>) -> BTreeMap<u64, Vec<u32>> {
    (0..COUNT).map(|value| (value, tasks(value))).collect()
}

/// R-1 …, D-30: each value is seen once on each task it was sent to, and nowhere else.
#[test]
fn every_partitioner_reaches_its_tasks() {
    for (seed, threads, machines) in [(1, 1, 1), (2, 2, 1), (3, 4, 1), (4, 4, 2)] {
        let world = Simulation::seed(seed).threads(threads).machines(machines);
        world.tasks(TASKS).run(Routes, |cluster| async move {
            cluster.calm().await;
            for value in 0..COUNT {
                cluster.depot(VALUES).append(&value).await.unwrap();
            }
            settle(&cluster).await;
            let every = || (0..TASKS).collect::<Vec<u32>>();
            let one = |task: u64| vec![task as u32 % TASKS];
            assert_eq!(seen(&cluster, ALL).await, expected(|_| every()));
            assert_eq!(seen(&cluster, GLOBAL).await, expected(|_| vec![0]));
            assert_eq!(
                seen(&cluster, DIRECT).await,
                expected(|value| one(3 - value % 4))
            );
            assert_eq!(
                seen(&cluster, CUSTOM).await,
                expected(|value| one(value / 4))
            );
            assert_eq!(
                seen(&cluster, BY_PATH).await,
                expected(|value| one(value + 1))
            );
            let home = expected(|value| vec![hash_task(value)]);
            assert_eq!(seen(&cluster, BY_KEY).await, home);
            assert_eq!(seen(&cluster, ECHOED).await, home);
            let shuffled = seen(&cluster, SHUFFLED).await;
            let reached: Vec<u32> = shuffled.values().flatten().copied().collect();
            assert_eq!((shuffled.len(), reached.len()), (16, 16), "{shuffled:?}");
            assert!(
                reached.iter().any(|task| *task != reached[0]),
                "{shuffled:?}"
            );
        });
    }
}

/// D-1, D-6, R-13: each kind of depot puts records where it says; a disallowed one takes none of
/// clients.
#[test]
fn every_kind_of_depot_places_its_records() {
    Simulation::seed(7)
        .tasks(TASKS)
        .run(Routes, |cluster| async move {
            cluster.calm().await;
            let mut anywhere = BTreeMap::new();
            for value in 0..COUNT {
                let ack = AckLevel::AppendAck;
                let placed = cluster
                    .depot(VALUES)
                    .append_with(&value, ack)
                    .await
                    .unwrap();
                assert_eq!(placed.partition, value as u32 % TASKS);
                let placed = cluster
                    .depot(HASHED)
                    .append_with(&value, ack)
                    .await
                    .unwrap();
                assert_eq!(placed.partition, hash_task(value));
                let placed = cluster.depot(WHOLE).append_with(&value, ack).await.unwrap();
                assert_eq!((placed.partition, placed.offset), (0, Some(value)));
                let placed = cluster
                    .depot(ANYWHERE)
                    .append_with(&value, ack)
                    .await
                    .unwrap();
                *anywhere.entry(placed.partition).or_insert(0) += 1;
            }
            assert!(anywhere.len() > 1, "{anywhere:?}");
            assert_eq!(cluster.depot(WHOLE).partitions().unwrap(), 1);
            let refused = cluster.depot(ECHOES).append(&1).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Rejected, "{refused:#}");
            settle(&cluster).await;
            let mut echoes = 0;
            for partition in 0..TASKS {
                let range = cluster
                    .depot(ECHOES)
                    .partition_info(partition)
                    .await
                    .unwrap();
                echoes += range.end;
            }
            assert_eq!(echoes, COUNT);
        });
}

/// A key on a task that is not its home fails the event at once, with both task ids.
#[test]
fn a_key_on_the_wrong_task_fails_its_record_and_names_both_tasks() {
    Simulation::seed(8)
        .tasks(TASKS)
        .run(Routes, |cluster| async move {
            cluster.calm().await;
            let failed = cluster.depot(HASHED).append(&5).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Failed);
            let (home, here) = (hash_task(5), (hash_task(5) + 1) % TASKS);
            let text =
                format!("key 5 of $$stray was accessed on task {here}, but lives on task {home}");
            assert!(failed.to_string().contains(&text), "{failed}");
            settle(&cluster).await;
            let letters = cluster.dead_letters("Routes").await.unwrap();
            assert_eq!(letters.len(), 1, "{letters:?}");
            assert!(letters[0].error.contains(&text), "{letters:?}");
            let stray = cluster.pstate(STRAY).select(STRAY.key(&5)).await;
            assert_eq!(stray.unwrap(), None);
        });
}
