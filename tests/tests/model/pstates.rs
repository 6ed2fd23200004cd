//! PStates: what a new one holds, who sees what of its writes, paths as values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rama::Definition;
use rama::helpers::keys_for_tasks;
use rama::prelude::*;

#[derive(Schema)]
#[allow(dead_code)]
struct Profile {
    name: String,
    friends: Set<String>,
}

const BY_NAME: PState<Map<String, u64>> = PState::named("$$by_name");
const OWN: PState<Profile> = PState::named("$$own");
const NOTE: PState<String> = PState::named("$$note");
const LIMIT: PState<u64> = PState::named("$$limit").initial(|| 7);

/// PStates that nobody writes.
struct Untouched;

impl Module for Untouched {
    fn define(&self, m: &mut Setup) {
        let mut s = m.stream("s");
        s.pstate(BY_NAME);
        s.pstate(OWN);
        s.pstate(NOTE);
        s.pstate(LIMIT);
    }
}

/// P-3: on each task a new PState is an empty map, no field, no value, or its initial one.
#[tokio::test]
async fn a_new_pstate_is_empty_or_has_its_initial_value() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Untouched).await.expect("launch");
    for key in keys_for_tasks(cluster.status().modules[0].tasks) {
        let by_name = cluster.pstate(BY_NAME);
        let len = by_name.select(BY_NAME.routed_by(&key).select_len()).await;
        assert_eq!(len.expect("select"), 0);
        let own = cluster.pstate(OWN);
        let name = own.select(OWN.routed_by(&key).name()).await;
        assert_eq!(name.expect("select"), None);
        let friends = own.select(OWN.routed_by(&key).friends().all()).await;
        assert_eq!(friends.expect("select"), [""; 0]);
        let note = cluster.pstate(NOTE).select(NOTE.routed_by(&key)).await;
        assert_eq!(note.expect("select"), None);
        let limit = cluster.pstate(LIMIT).select(LIMIT.routed_by(&key)).await;
        assert_eq!(limit.expect("select"), Some(7));
    }
}

const WRITES: Depot<String> = Depot::named("*writes");
const READS: Depot<String> = Depot::named("*reads");
const FIRST: PState<Map<String, u64>> = PState::named("$$first");
const SECOND: PState<Map<String, u64>> = PState::named("$$second");

/// A microbatch that writes, waits, and copies what it wrote; a stream that reads meanwhile.
struct Watched {
    written: Arc<AtomicBool>,
}

impl Module for Watched {
    fn define(&self, m: &mut Setup) {
        m.depot_by(WRITES, |key| key);
        m.depot_by(READS, |key| key);
        let mut mb = m.microbatch("mb");
        let (first, second) = (mb.pstate(FIRST), mb.pstate(SECOND));
        let written = self.written.clone();
        mb.source(WRITES)
            .inspect(move |task, key| {
                first.key(key).modify(task, |count| *count += 1);
                written.store(true, Relaxed);
            })
            .map_async(|waiter, key| async move {
                waiter.sleep(Duration::from_millis(500)).await;
                Ok::<_, String>(key)
            })
            .each(move |task, key| {
                let own = first.key(&key).get(task).expect("it was written before");
                second.key(&key).set(task, own);
            });
        let read = move |task: &Task, key: &String| {
            vec![first.key(key).get(task), second.key(key).get(task)]
        };
        m.stream("s").source(READS).ack_return(read).done();
    }
}

/// P-27, P-28, P-30: while a microbatch runs its topology sees what it has written; other topologies of
/// the module and clients see the state before, and then all of it. A power cut meanwhile leaves nothing.
#[test]
fn others_see_what_is_committed() {
    for seed in 0..5 {
        let written = &Arc::new(AtomicBool::new(false));
        let module = Watched {
            written: written.clone(),
        };
        Simulation::seed(seed).run(module, |cluster| async move {
            cluster.calm().await;
            let key = "key".to_owned();
            let seen = async || {
                let read = cluster.depot(READS).append(&key).await.expect("append");
                let first = cluster.pstate(FIRST).select_one(FIRST.key("key")).await;
                let second = cluster.pstate(SECOND).select_one(SECOND.key("key")).await;
                let clients = vec![first.expect("select"), second.expect("select")];
                let topologies = &read.returns["s"];
                assert_eq!(*topologies, serde_json::json!(clients), "seed {seed}");
                clients
            };
            let append = cluster.depot(WRITES);
            let append = append.append_with(&key, AckLevel::AppendAck);
            append.await.expect("append");
            for cut in [true, false] {
                while !written.swap(false, Relaxed) {
                    cluster.sleep(Duration::from_millis(1)).await;
                }
                if cut {
                    cluster.power_cut().await;
                }
                assert_eq!(seen().await, [None, None], "seed {seed}");
            }
            while seen().await == [None, None] {
                cluster.sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(seen().await, [Some(1), Some(1)], "seed {seed}");
        });
    }
}

/// A read goes to where its key lives.
struct Finding;

impl Module for Finding {
    fn define(&self, m: &mut Setup) {
        m.depot_by(WRITES, |key| key);
        m.depot(READS, Partition::random());
        let mut s = m.stream("s");
        let first = s.pstate(FIRST);
        s.source(WRITES)
            .each(move |task, key| first.key(&key).set(task, u64::from(task.id())));
        s.source(READS)
            .path_partition(FIRST, |key| key)
            .map(move |task, key| (first.key(&key).get(task), task.id()))
            .inspect(|task, (_, found_on)| assert_eq!(*found_on, task.id()))
            .ack_return(|task, (value, _)| (*value, task.id()))
            .done();
    }
}

/// P-21, R-6, R-9: a value goes to the task of the key it is about, is read there, and stays there.
#[tokio::test]
async fn a_read_goes_to_the_task_of_its_key() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Finding).await.expect("launch");
    let tasks = cluster.depot(WRITES).partitions().expect("known");
    for (task, key) in (0..).zip(keys_for_tasks(tasks)) {
        cluster.depot(WRITES).append(&key).await.expect("append");
        for _ in 0..3 {
            let read = cluster.depot(READS).append(&key).await.expect("append");
            assert_eq!(read.returns["s"], serde_json::json!([task, task]));
        }
        let absent = format!("not {key}");
        let read = cluster.depot(READS).append(&absent).await.expect("append");
        assert_eq!(read.returns["s"][0], serde_json::Value::Null);
    }
}

/// Aggregates into a PState of another topology.
struct Meddling {
    by_key: bool,
}

impl Module for Meddling {
    fn define(&self, m: &mut Setup) {
        m.depot_by(WRITES, |key| key);
        let mut one = m.microbatch("one");
        let (first, total) = (one.pstate(FIRST), one.pstate(LIMIT));
        one.source(WRITES)
            .group_by(|key| key.clone())
            .agg_into(first, |of| of.count());
        let source = m.microbatch("other").source(WRITES);
        if self.by_key {
            let groups = source.group_by(|key| key.clone());
            groups.agg_into(first, |of| of.count());
        } else {
            source.agg_into(total, |of| of.count());
        }
    }
}

/// P-24: an aggregation writes as any step does, only what its topology declares; another one is no
/// definition.
#[test]
fn an_aggregation_writes_what_its_topology_owns() {
    for (by_key, pstate) in [(true, "$$first"), (false, "$$limit")] {
        let error = Definition::of(&Meddling { by_key }).expect_err("it is one's");
        let text = error.to_string();
        let object = format!("aggregation into {pstate} in topology other");
        assert!(text.contains(&object), "{text}");
        assert!(
            text.contains("writes a PState that topology one declares"),
            "{text}"
        );
    }
}

type Visits = Map<String, Map<u32, u64>>;

/// P-22, P-23, P-26, P-48a: a path is a value, made from what is known at run time and kept; a write
/// changes the place it leads to and no other; a structure tells its size, ends and members without being
/// read whole; clearing empties the partition.
#[test]
fn paths_are_values_and_change_only_their_places() {
    let visits = TestPState::<Visits>::new();
    let (local, task) = (visits.local(), visits.task());
    let wanted = [("alice", 3), ("bob", 1), ("alice", 1), ("alice", 2)];
    let paths: Vec<_> = wanted
        .iter()
        .map(|(user, page)| local.key(*user).key(page))
        .collect();
    for (count, path) in (1..).zip(&paths) {
        path.set(task, count);
    }
    let all = |user: &str| local.key(user).entries(task);
    assert_eq!(all("alice"), [(1, 3), (2, 4), (3, 1)]);
    assert_eq!(all("bob"), [(1, 2)]);
    paths[0].modify(task, |count| *count += 10);
    paths[2].remove(task);
    assert_eq!(all("alice"), [(2, 4), (3, 11)]);
    assert_eq!(all("bob"), [(1, 2)], "another place");

    let alice = local.key("alice");
    assert_eq!(alice.len(task), 2);
    assert!(alice.contains(task, &3) && !alice.contains(task, &1));
    assert_eq!(alice.key(&9).get(task).unwrap_or(0), 0);
    assert_eq!(
        (alice.first(task), alice.last(task)),
        (Some((2, 4)), Some((3, 11)))
    );
    assert!(local.key("nobody").is_empty(task));

    alice.clear(task);
    assert_eq!((all("alice").len(), all("bob").len()), (0, 1));
    local.clear(task);
    assert!(local.is_empty(task));
}
