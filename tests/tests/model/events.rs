//! Events: one at a time on a task, failed as a whole, counted where they begin.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rama::options::{Level, STREAM_MAX_EXECUTING, Settings};
use rama::prelude::*;

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const STREAMED: PState<Map<u64, u64>> = PState::named("$$streamed");
const EXACT: PState<Map<u64, u64>> = PState::named("$$exact");
const ASK: Query<u64, u64> = Query::named("ask");

/// Who is at work, by task; and how often two were.
#[derive(Clone)]
struct AtWork {
    tasks: Arc<Vec<AtomicBool>>,
    events: Arc<AtomicU64>,
    overlaps: Arc<AtomicU64>,
}

impl AtWork {
    fn new() -> AtWork {
        AtWork {
            tasks: Arc::new((0..16).map(|_| AtomicBool::new(false)).collect()),
            events: Arc::default(),
            overlaps: Arc::default(),
        }
    }

    /// Some work, long enough for others to come in between.
    fn work(&self, task: &Task) {
        thread_local! {
            static BUSY: Cell<bool> = const { Cell::new(false) };
        }
        let busy = &self.tasks[task.id() as usize];
        let both = busy.swap(true, Relaxed) || BUSY.replace(true);
        for _ in 0..10_000 {
            std::hint::spin_loop();
        }
        BUSY.set(false);
        busy.store(false, Relaxed);
        self.events.fetch_add(1, Relaxed);
        self.overlaps.fetch_add(u64::from(both), Relaxed);
    }
}

/// A stream, a microbatch and a query that work on every task.
struct Busy(AtWork);

impl Module for Busy {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random());
        let [one, other, asked] = [(); 3].map(|()| self.0.clone());
        m.stream("s")
            .source(NUMBERS)
            .all_partition()
            .each(move |task, _| one.work(task));
        m.microbatch("mb")
            .source(NUMBERS)
            .all_partition()
            .each(move |task, _| other.work(task));
        m.query(ASK, |q| {
            q.all_partition()
                .map(move |task, n| {
                    asked.work(task);
                    n
                })
                .origin_partition()
                .agg(|of| of.sum(|n| *n))
        });
    }
}

/// O-6: events of a task, of whatever topology, run one after the other; so do those of a task thread.
#[tokio::test]
async fn events_of_a_task_never_overlap() {
    let (cluster, work) = (
        InProcessCluster::random().expect("a cluster"),
        AtWork::new(),
    );
    cluster.launch(Busy(work.clone())).await.expect("launch");
    let tasks = u64::from(cluster.status().modules[0].tasks);
    for n in 0..40 {
        let appended = cluster.depot(NUMBERS).append(&n);
        let asked = cluster.query(ASK).invoke(1);
        let (appended, asked) = tokio::join!(appended, asked);
        appended.expect("append");
        assert_eq!(asked.expect("ask"), tasks);
    }
    let all = cluster.wait_for_processed("Busy", "mb", 40).await;
    all.expect("processed");
    assert_eq!(work.overlaps.load(Relaxed), 0);
    assert_eq!(work.events.load(Relaxed), 3 * 40 * tasks);
}

/// Everything fails the first time.
struct Fallible {
    failures: [Arc<AtomicBool>; 2],
}

impl Module for Fallible {
    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        let [streams, batches] = self.failures.clone();
        let once = |task: &Task, failed: &AtomicBool| {
            if !failed.swap(true, Relaxed) {
                task.fail("not yet");
            }
        };
        let mut s = m.stream("s");
        let streamed = s.pstate(STREAMED);
        s.source(NUMBERS).each(move |task, n| {
            streamed.key(&n).modify(task, |count| *count += 1);
            once(task, &streams);
        });
        let mut mb = m.microbatch("mb");
        let exact = mb.pstate(EXACT);
        mb.source(NUMBERS).each(move |task, n| {
            exact.key(&n).modify(task, |count| *count += 1);
            once(task, &batches);
        });
        m.query(ASK, |q| {
            q.hash_partition(|n| n)
                .inspect(|task, n| {
                    if *n == 13 {
                        task.fail("unlucky");
                    }
                })
                .origin_partition()
        });
    }
}

/// F-9: a failed event has written nothing, and fails what it is part of: a stream's record and a
/// microbatch, which are tried again, and a query, which is not.
#[tokio::test]
async fn a_failed_event_fails_what_it_is_part_of() {
    let cluster = InProcessCluster::random().expect("a cluster");
    let failures = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let module = Fallible { failures };
    cluster.launch(module).await.expect("launch");
    let failed = cluster.depot(NUMBERS).append(&5).await;
    let failed = failed.expect_err("the first attempt decides").to_string();
    assert!(failed.contains("not yet"), "{failed}");
    for (topology, counts) in [("s", STREAMED), ("mb", EXACT)] {
        let all = cluster.wait_for_processed("Fallible", topology, 1).await;
        all.expect("processed");
        let count = cluster.pstate(counts).select_one(counts.key(&5)).await;
        assert_eq!(count.expect("select"), Some(1), "{topology}");
    }
    assert_eq!(cluster.query(ASK).invoke(12).await.expect("ask"), 12);
    let failed = cluster.query(ASK).invoke(13).await;
    let failed = failed.expect_err("it fails").to_string();
    assert!(failed.contains("unlucky"), "{failed}");
}

/// One record comes to many values, which go round and round.
struct Fans;

impl Module for Fans {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random());
        let mut s = m.stream("s");
        let streamed = s.pstate(STREAMED);
        s.source(NUMBERS)
            .flat_map(|_, n| (0..n).map(|i| (i, 3_u64)))
            .iterate(|round| {
                round
                    .hash_partition(|(i, left)| i + left)
                    .map(|_, (i, left)| match left {
                        0 => Turn::Emit(i),
                        left => Turn::Again((i, left - 1)),
                    })
            })
            .hash_partition(|i| i)
            .each(move |task, i| streamed.key(&i).modify(task, |count| *count += 1));
    }
}

/// S-17, F-20: at a limit of one unfinished record a record may come to a thousand values, each of which
/// takes several rounds of a loop over tasks; its append waits for all of them.
#[test]
fn the_throttle_counts_records_and_not_what_they_come_to() {
    let options = Settings::new().with(Level::Module, STREAM_MAX_EXECUTING.name, 1);
    let world = Simulation::seed(1).options(options);
    world.run(Fans, |cluster| async move {
        cluster.calm().await;
        for times in 1..=2 {
            let appended = cluster.depot(NUMBERS).append(&1000).await;
            appended.expect("it is one record");
            for i in [0, 1, 499, 999] {
                let count = cluster.pstate(STREAMED).select_one(STREAMED.key(&i)).await;
                assert_eq!(count.expect("select"), Some(times));
            }
            cluster.sleep(Duration::from_millis(1)).await;
        }
    });
}
