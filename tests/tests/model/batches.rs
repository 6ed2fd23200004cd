//! Microbatches: what a retry repeats, what readers see of a commit, in which order records come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rama::prelude::*;

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const COUNTS: PState<Map<u64, u64>> = PState::named("$$counts");

/// What code did outside of its module, by microbatch.
type Outside = Arc<Mutex<Vec<(Option<u64>, u64)>>>;

/// Fails once, after it has counted inside and outside.
struct Twice {
    outside: Outside,
    failed: AtomicBool,
}

impl Module for Twice {
    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        let calls = m.task_global("*calls", |_: &TaskContext| Ok(0_u64));
        let mut mb = m.microbatch("mb");
        let counts = mb.pstate(COUNTS);
        let failed = Arc::new(AtomicBool::new(self.failed.load(Relaxed)));
        let outside = self.outside.clone();
        mb.source(NUMBERS).each(move |task, n| {
            let called = calls.with(task, |calls| {
                *calls += 1;
                *calls
            });
            counts.key(&n).modify(task, |count| *count += 1);
            let mut outside = outside.lock().expect("no panic under it");
            outside.push((task.microbatch_id(), called));
            drop(outside);
            if !failed.swap(true, Relaxed) {
                task.fail("the first time");
            }
        });
    }
}

/// M-5: what an attempt that failed did to PStates is undone; what it did to task globals and outside is
/// not, and the retry has the same microbatch id, by which it can be told.
#[tokio::test]
async fn a_retry_has_the_id_of_its_microbatch() {
    let cluster = InProcessCluster::new(1, 1).expect("a cluster");
    let outside = Outside::default();
    let module = Twice {
        outside: outside.clone(),
        failed: AtomicBool::new(false),
    };
    cluster.launch(module).await.expect("launch");
    for processed in 1..=2 {
        let numbers = cluster.depot(NUMBERS);
        numbers.append(&5).await.expect("append");
        let all = cluster.wait_for_processed("Twice", "mb", processed);
        all.await.expect("processed");
        let count = cluster.pstate(COUNTS).select_one(COUNTS.key(&5)).await;
        assert_eq!(count.expect("select"), Some(processed), "once each");
    }
    let outside = outside.lock().expect("no panic under it").clone();
    let (ids, calls): (Vec<_>, Vec<_>) = outside.into_iter().unzip();
    assert_eq!(calls, [1, 2, 3], "the failed attempt's call stays");
    assert!(ids[0].is_some() && ids[0] == ids[1], "{ids:?}");
    assert!(ids[1] < ids[2], "{ids:?}");
}

const ONE: PState<Map<u64, u64>> = PState::named("$$one");
const OTHER: PState<Map<u64, u64>> = PState::named("$$other");
const BOTH: Query<u64, (u64, u64)> = Query::named("both");

/// Two PStates that are always equal, written in two events.
struct Equal;

impl Module for Equal {
    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        let mut mb = m.microbatch("mb");
        let (one, other) = (mb.pstate(ONE), mb.pstate(OTHER));
        mb.source(NUMBERS)
            .inspect(move |task, n| one.key(n).modify(task, |count| *count += 1))
            .shuffle_partition()
            .hash_partition(|n| n)
            .each(move |task, n| other.key(&n).modify(task, |count| *count += 1));
        m.query(BOTH, |q| {
            q.hash_partition(|n| n)
                .map(move |task, n| {
                    let count = |counts: rama::LocalPState<Map<u64, u64>>| counts.key(&n).get(task);
                    (count(one).unwrap_or(0), count(other).unwrap_or(0))
                })
                .origin_partition()
        });
    }
}

/// M-6: on one task all PStates of a topology go from one microbatch to the next at once.
#[tokio::test]
async fn what_a_microbatch_wrote_on_a_task_is_seen_together() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Equal).await.expect("launch");
    let numbers = cluster.depot(NUMBERS);
    let mut seen = Vec::new();
    for _ in 0..300 {
        let appended = numbers.append_with(&3, AckLevel::AppendAck).await;
        appended.expect("append");
        let (one, other) = cluster.query(BOTH).invoke(3).await.expect("both");
        assert_eq!(one, other);
        seen.push(one);
    }
    let all = cluster.wait_for_processed("Equal", "mb", 300).await;
    all.expect("processed");
    let both = cluster.query(BOTH).invoke(3).await.expect("both");
    assert_eq!(both, (300, 300));
    assert!(seen.is_sorted(), "a task never goes back: {seen:?}");
}

/// What came to a task, in its order.
type Logs = PState<Map<u32, List<u64>>>;
const FROM_ONE: Logs = PState::named("$$from_one");
const FROM_OTHER: Logs = PState::named("$$from_other");
const STREAMED: Logs = PState::named("$$streamed");

/// Notes where and in which order records come.
struct Orders;

impl Module for Orders {
    fn define(&self, m: &mut Setup) {
        let by_number = Partition::custom(|n: &u64, tasks| (*n % u64::from(tasks)) as u32);
        m.depot(NUMBERS, by_number);
        let mut mb = m.microbatch("mb");
        let here = |task: &u32, _: u32| *task;
        let one = mb.pstate_placed(FROM_ONE, here);
        let other = mb.pstate_placed(FROM_OTHER, here);
        let (left, right) = mb.source(NUMBERS).fork();
        left.each(move |task, n| one.key(&task.id()).append(task, n));
        right.each(move |task, n| other.key(&task.id()).append(task, n));
        let mut s = m.stream("s");
        let streamed = s.pstate_placed(STREAMED, here);
        s.source(NUMBERS)
            .each(move |task, n| streamed.key(&task.id()).append(task, n));
    }
}

/// M-10, S-15: a record comes on the task of its partition, in the order of its offset, to a stream and to
/// a microbatch, there to each chain that takes it.
#[tokio::test]
async fn records_come_on_their_task_in_the_order_of_their_partition() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Orders).await.expect("launch");
    let tasks = cluster.status().modules[0].tasks;
    let numbers: Vec<u64> = (0..500).map(|n| n * 7 % 500).collect();
    for some in numbers.chunks(50) {
        let appended = cluster.depot(NUMBERS).append_many(some, AckLevel::Ack);
        appended.await.expect("append");
    }
    let all = cluster.wait_for_processed("Orders", "mb", 500).await;
    all.expect("processed");
    for task in 0..tasks {
        let own = |n: &u64| *n % u64::from(tasks) == u64::from(task);
        let expected: Vec<u64> = numbers.iter().copied().filter(own).collect();
        for logs in [FROM_ONE, FROM_OTHER, STREAMED] {
            let log = cluster.pstate(logs).select(logs.key(&task).all()).await;
            assert_eq!(log.expect("select"), expected, "{} of {task}", logs.name());
        }
    }
}

/// Microbatches that last, and the one each number came in.
struct Lasting {
    ids: Arc<Mutex<BTreeMap<u64, Option<u64>>>>,
}

impl Module for Lasting {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random());
        let ids = self.ids.clone();
        m.microbatch("mb")
            .source(NUMBERS)
            .inspect(move |task, n| {
                let mut ids = ids.lock().expect("no panic under it");
                ids.insert(*n, task.microbatch_id());
            })
            .map_async(|waiter, n| async move {
                waiter.sleep(Duration::from_millis(200)).await;
                Ok::<_, String>(n)
            })
            .done();
    }
}

/// M-14: what is appended while a microbatch runs is processed in the next one.
#[test]
fn a_record_that_comes_during_a_microbatch_is_in_the_next() {
    for seed in 0..5 {
        let ids = &Arc::new(Mutex::new(BTreeMap::new()));
        let module = Lasting { ids: ids.clone() };
        Simulation::seed(seed).run(module, |cluster| async move {
            cluster.calm().await;
            let id = |n: u64| ids.lock().expect("no panic under it").get(&n).copied();
            let numbers = cluster.depot(NUMBERS);
            numbers.append(&1).await.expect("append");
            while id(1).is_none() {
                cluster.sleep(Duration::from_millis(1)).await;
            }
            numbers.append(&2).await.expect("append");
            cluster.sleep(Duration::from_millis(50)).await;
            assert_eq!(id(2), None, "seed {seed}: the first one runs");
            while id(2).is_none() {
                cluster.sleep(Duration::from_millis(1)).await;
            }
            let [one, two] = [1, 2].map(|n| id(n).flatten().expect("of a microbatch"));
            assert_eq!(two, one + 1, "seed {seed}");
        });
    }
}
