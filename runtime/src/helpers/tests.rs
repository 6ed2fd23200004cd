//! The helpers against plain models, over power cuts (16.4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rama_wire::Key;

use super::*;
use crate::schema::{Map, Untracked};
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Depot, ErrorKind, Module, PState, Setup, SourceOptions};

/// Key, what to do, item.
const OPS: Depot<(u64, u64, u64)> = Depot::named("*ops");
const RECENT: PState<Map<u64, Map<u64, u64, Untracked>>> = PState::named("$$recent");
const UNIQUE: PState<Map<u64, Map<u64, u64, Untracked>>> = PState::named("$$unique");
const PLACES: PState<Map<u64, Map<u64, u64, Untracked>>> = PState::named("$$places");
const MEMBERS: PState<Map<u64, Map<u64, u64>>> = PState::named("$$members");
const NUMBERS: PState<Map<u64, Map<u64, u64, Untracked>>> = PState::named("$$numbers");
const UP: PState<u64> = PState::named("$$up").private();
const DOWN: PState<u64> = PState::named("$$down").private();
/// Ids given, by key, in order.
const IDS: PState<Map<u64, Vec<(u64, u64)>>> = PState::named("$$ids");

const MOST: u64 = 4;
const REMOVE: u64 = 3;

/// Every op does the same to all collections of its key.
struct Collections;

impl Module for Collections {
    fn define(&self, m: &mut Setup) {
        m.depot_by(OPS, |(key, _, _)| key);
        let mut mb = m.microbatch("ops");
        let recent = FixedItems::declare(&mut mb, RECENT, MOST);
        let unique = UniqueFixedItems::declare(&mut mb, UNIQUE, PLACES, MOST);
        let members = LinkedSet::declare(&mut mb, MEMBERS, NUMBERS);
        let up = UniqueIds::ascending(&mut mb, UP);
        let down = UniqueIds::descending(&mut mb, DOWN);
        let ids = mb.pstate(IDS);
        let options = SourceOptions::new().start_from_beginning();
        mb.source_with(OPS, options)
            .each(move |task, (key, op, item)| {
                if op % REMOVE == 0 {
                    unique.remove(task, &key, &item);
                    let was = members.contains(task, &key, &item);
                    assert_eq!(members.remove(task, &key, &item), was);
                } else {
                    recent.push(task, &key, item);
                    unique.push(task, &key, &item);
                    let was = members.contains(task, &key, &item);
                    assert_eq!(members.insert(task, &key, &item), !was);
                }
                assert!(unique.items(task, &key).len() as u64 <= MOST);
                let given = (up.next(task), down.next(task));
                let all = |found: Option<Vec<_>>| [found.unwrap_or_default(), vec![given]].concat();
                ids.key(&key).update(task, all);
            });
    }
}

async fn settle(cluster: &SimulatedCluster) {
    let topologies = || cluster.status().modules[0].topologies.clone();
    while topologies().iter().any(|topology| topology.lag > 0) {
        cluster.sleep(Duration::from_millis(5)).await;
    }
    // What is decided counts as done; every task makes it visible a moment later.
    cluster.sleep(Duration::from_millis(100)).await;
}

async fn appended<T: rama_wire::Record>(cluster: &SimulatedCluster, depot: Depot<T>) -> Vec<T> {
    let depot = cluster.depot(depot);
    let mut all = Vec::new();
    for partition in 0..depot.partitions().unwrap() {
        let range = depot.partition_info(partition).await.unwrap();
        all.extend(depot.read(partition, range).await.unwrap());
    }
    all
}

/// What the collections of one key should hold.
#[derive(Default)]
struct Model {
    recent: Vec<u64>,
    unique: Vec<u64>,
    members: Vec<u64>,
    ops: usize,
}

impl Model {
    fn apply(&mut self, op: u64, item: u64) {
        self.ops += 1;
        self.unique.retain(|found| *found != item);
        if op.is_multiple_of(REMOVE) {
            return self.members.retain(|found| *found != item);
        }
        self.recent.insert(0, item);
        self.recent.truncate(MOST as usize);
        self.unique.insert(0, item);
        self.unique.truncate(MOST as usize);
        if !self.members.contains(&item) {
            self.members.push(item);
        }
    }
}

/// 16.4: fixed-size groups, linked sets and ids, compared with vectors over what the depot holds.
#[test]
fn collections_and_ids_are_what_their_models_say_over_power_cuts() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(Collections, |cluster| async move {
            let ops = cluster.depot(OPS);
            for _ in 0..80 {
                let random = cluster.random_u64();
                let op = (random % 3, random >> 8 & 7, random >> 16 & 7);
                match ops.append_with(&op, AckLevel::AppendAck).await {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Unknown => {}
                    Err(_) => cluster.sleep(Duration::from_millis(5)).await,
                }
            }
            cluster.calm().await;
            settle(&cluster).await;
            let mut models: BTreeMap<u64, Model> = BTreeMap::new();
            for (key, op, item) in appended(&cluster, OPS).await {
                models.entry(key).or_default().apply(op, item);
            }
            let mut given = BTreeSet::new();
            for (key, model) in models {
                let recent = RECENT.key(&key).all().select_values();
                let unique = UNIQUE.key(&key).all().select_values();
                let members = MEMBERS.key(&key).all().select_values();
                let size = MEMBERS.key(&key).select_len();
                let recent = cluster.pstate(RECENT).select(recent).await.unwrap();
                assert_eq!(recent, model.recent, "seed {seed}, key {key}");
                let unique = cluster.pstate(UNIQUE).select(unique).await.unwrap();
                assert_eq!(unique, model.unique, "seed {seed}, key {key}");
                let places = PLACES.key(&key).all().select_len();
                let places = cluster.pstate(PLACES).select(places).await.unwrap();
                assert_eq!(places, model.unique.len() as u64, "seed {seed}, key {key}");
                let members = cluster.pstate(MEMBERS).select(members).await.unwrap();
                assert_eq!(members, model.members, "seed {seed}, key {key}");
                let size = cluster.pstate(MEMBERS).select(size).await.unwrap();
                assert_eq!(size, model.members.len() as u64, "seed {seed}, key {key}");
                let ids = cluster.pstate(IDS).select(IDS.key(&key)).await.unwrap();
                let ids = ids.unwrap();
                assert_eq!(ids.len(), model.ops, "seed {seed}, key {key}");
                assert!(ids.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1), "{ids:?}");
                for (up, down) in ids {
                    assert_eq!(up >> 42, down >> 42, "both of one task");
                    assert!(given.insert((0, up)) && given.insert((1, down)));
                }
            }
        });
    }
}

/// At, item.
const LATER: Depot<(u64, u64)> = Depot::named("*later");
const TICKS: Depot<()> = Depot::named("*ticks");
const WAITING: PState<Map<Due, (u64, u64)>> = PState::named("$$waiting").private();
/// Item to: when it was due, when it was done, how often.
const DONE: PState<Map<u64, Vec<(u64, u64)>>> = PState::named("$$done");
const ORDER: PState<Map<u64, Vec<(u64, u64)>>> = PState::named("$$order");

struct Later {
    stream: bool,
}

impl Module for Later {
    fn define(&self, m: &mut Setup) {
        m.depot_by(LATER, |(_, item)| item);
        m.tick_depot(TICKS, Duration::from_millis(20));
        let by_task = |key: &u64, _: u32| *key as u32;
        if self.stream {
            let mut s = m.stream("later");
            let waiting = Scheduler::declare(&mut s, WAITING);
            let done = s.pstate(DONE);
            s.source(LATER).each(move |task, (at, item)| {
                waiting.schedule(task, at, (at, item));
            });
            // Done on another task; it waits until the way back is made.
            s.source(TICKS)
                .all_partition()
                .flat_map(move |task, ()| {
                    let here = task.id();
                    let due = waiting.due(task, 3).into_iter();
                    due.map(move |(place, (at, item))| (here, place, at, item))
                        .collect::<Vec<_>>()
                })
                .hash_partition(|(_, _, at, _)| at)
                .map(move |task, (from, place, at, item)| {
                    let done = done.unaligned().key(&item);
                    let now = task.now_ms();
                    done.update(task, |so_far| {
                        [so_far.unwrap_or_default(), vec![(at, now)]].concat()
                    });
                    (from, place)
                })
                .direct_partition(|(from, _)| *from)
                .each(move |task, (_, place)| waiting.done(task, place));
            return;
        }
        let mut mb = m.microbatch("later");
        let waiting = Scheduler::declare(&mut mb, WAITING);
        let (done, order) = (mb.pstate(DONE), mb.pstate_placed(ORDER, by_task));
        let options = SourceOptions::new().start_from_beginning();
        mb.source_with(LATER, options)
            .each(move |task, (at, item)| {
                waiting.schedule(task, at, (at, item));
            });
        mb.source(TICKS)
            .all_partition()
            .flat_map(move |task, ()| {
                let due = waiting.take(task, 3);
                let here = order.key(&u64::from(task.id()));
                here.update(task, |so_far| {
                    [so_far.unwrap_or_default(), due.clone()].concat()
                });
                due
            })
            .hash_partition(|(_, item)| item)
            .each(move |task, (at, item)| {
                let now = task.now_ms();
                let all =
                    |so_far: Option<Vec<_>>| [so_far.unwrap_or_default(), vec![(at, now)]].concat();
                done.key(&item).update(task, all);
            });
    }
}

async fn schedule(cluster: &SimulatedCluster) -> u64 {
    let later = cluster.depot(LATER);
    let mut last = 0;
    for item in 0..40 {
        let at = cluster.now_ms() + cluster.random_u64() % 8 * 50;
        last = last.max(at);
        match later.append_with(&(at, item), AckLevel::AppendAck).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unknown => {}
            Err(_) => cluster.sleep(Duration::from_millis(5)).await,
        }
    }
    last
}

/// 16.4, issue 4.8: in a microbatch each item is done once, over power cuts, not before its time,
/// and on each task in the order of times.
#[test]
fn scheduled_work_of_a_microbatch_is_done_once_and_in_time() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(Later { stream: false }, |cluster| async move {
            schedule(&cluster).await;
            cluster.calm().await;
            settle(&cluster).await;
            let expected = appended(&cluster, LATER).await;
            for (at, item) in expected {
                let done = || cluster.pstate(DONE).select(DONE.key(&item));
                while done().await.unwrap().is_none() {
                    cluster.sleep(Duration::from_millis(20)).await;
                }
                let done = done().await.unwrap().unwrap();
                assert_eq!(done.len(), 1, "seed {seed}: item {item} {done:?}");
                assert_eq!(done[0].0, at, "seed {seed}");
                assert!(done[0].1 >= at, "seed {seed}: item {item} early {done:?}");
            }
        });
    }
}

/// The order within a task, where nothing is late.
#[test]
fn scheduled_work_of_a_task_comes_in_the_order_of_its_times() {
    Simulation::seed(7)
        .tasks(2)
        .run(Later { stream: false }, |cluster| async move {
            cluster.calm().await;
            let later = cluster.depot(LATER);
            let base = cluster.now_ms() + 5_000;
            for item in 0..30 {
                let at = base + item * 7 % 10;
                later
                    .append_with(&(at, item), AckLevel::AppendAck)
                    .await
                    .unwrap();
            }
            let mut found = Vec::new();
            while found.len() < 30 {
                cluster.sleep(Duration::from_millis(100)).await;
                found.clear();
                for task in 0..2_u64 {
                    let order = cluster
                        .pstate(ORDER)
                        .select(ORDER.key(&task))
                        .await
                        .unwrap();
                    let order = order.unwrap_or_default();
                    // Items are scheduled in their order, which counts among those of one time.
                    assert!(order.is_sorted(), "{order:?}");
                    found.extend(order);
                }
            }
        });
}

/// 16.4: the same in a stream that leaves the task: at least once, and nothing is lost on its way.
#[test]
fn scheduled_work_of_a_stream_is_not_lost() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(Later { stream: true }, |cluster| async move {
            schedule(&cluster).await;
            cluster.calm().await;
            settle(&cluster).await;
            for (at, item) in appended(&cluster, LATER).await {
                let path = DONE.routed_by(&at).key(&item);
                let done = || cluster.pstate(DONE).select(path.clone());
                while done().await.unwrap().is_none() {
                    cluster.sleep(Duration::from_millis(20)).await;
                }
                let done = done().await.unwrap().unwrap();
                assert!(
                    done.iter().all(|done| done.0 == at && done.1 >= at),
                    "{done:?}"
                );
            }
        });
    }
}

/// T-8: the key at place i is at home on task i, and the same in each run.
#[test]
fn there_is_a_key_for_each_task() {
    for tasks in [1, 2, 64] {
        let keys = keys_for_tasks(tasks);
        for (task, key) in keys.iter().enumerate() {
            let mut bytes = Vec::new();
            key.encode_key(&mut bytes);
            assert_eq!(rama_wire::hash::task_of(&bytes, tasks) as usize, task);
        }
    }
    assert_eq!(keys_for_tasks(2), ["key6", "key0"]);
}
