//! Queries: side effects, what was asked behind an aggregation, the way back.

use rama::Definition;
use rama::prelude::*;

const ASKED: Depot<u64> = Depot::named("*asked");
const DOUBLE: Query<u64, u64> = Query::named("double");
const CALLS: Query<(), u64> = Query::named("calls");
const MEAN: Query<(u64, u64), (u64, u64)> = Query::named("mean");
const FIRSTS: Query<(), Firsts> = Query::named("firsts");
const BACK: Query<u64, (u32, u32)> = Query::named("back");

/// The first and the last value, and all of them: each a task and a number.
type Firsts = (Option<(u32, u32)>, Option<(u32, u32)>, Vec<(u32, u32)>);

/// Queries that do more than read.
struct Asking;

impl Module for Asking {
    fn define(&self, m: &mut Setup) {
        m.depot(ASKED, Partition::disallow());
        let calls = m.task_global("*calls", |_: &TaskContext| Ok(0_u64));
        m.query(DOUBLE, |q| {
            q.hash_partition(|n| n)
                .inspect(move |task, _| calls.with(task, |calls| *calls += 1))
                .append(ASKED, AckLevel::AppendAck, |n| *n)
                .map_async(|_, n| async move { Ok::<_, String>(n * 2) })
                .origin_partition()
        });
        m.query(CALLS, |q| {
            q.all_partition()
                .map(move |task, ()| calls.with(task, |calls| *calls))
                .origin_partition()
                .agg(|of| of.sum(|calls| *calls))
        });
        m.query(MEAN, |q| {
            let asked = q.temporary::<(u64, u64)>();
            q.inspect(move |task, range| asked.with(task, |kept| *kept = *range))
                .flat_map(|_, (from, to)| from..to)
                .shuffle_partition()
                .origin_partition()
                .agg(|of| of.sum(|n| *n))
                .map(move |task, sum| {
                    let (from, to) = asked.with(task, |kept| *kept);
                    (sum / (to - from), to)
                })
        });
        m.query(FIRSTS, |q| {
            q.all_partition()
                .flat_map(|task, ()| [0, 1, 2].map(|n| (task.id(), n)))
                .origin_partition()
                .agg(|of| (of.first(|v| *v), of.last(|v| *v), of.list(|v| *v)))
        });
        m.query(BACK, |q| {
            q.map(|task, n| (task.id(), n))
                .hash_partition(|(_, n)| n)
                .all_partition()
                .filter(|task, _| task.id() + 1 == task.count())
                .origin_partition()
                .map(|task, (began, _)| (began, task.id()))
        });
    }
}

/// D-35, Q-12: a query may append to depots, change task globals and wait for other systems.
#[tokio::test]
async fn a_query_may_have_side_effects() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Asking).await.expect("launch");
    for n in 0..10 {
        let double = cluster.query(DOUBLE).invoke(n).await;
        assert_eq!(double.expect("double"), 2 * n);
        let calls = cluster.query(CALLS).invoke(()).await;
        assert_eq!(calls.expect("calls"), n + 1);
    }
    let mut asked = cluster.depot(ASKED).read_all().await.expect("read");
    asked.sort_unstable();
    assert_eq!(asked, (0..10).collect::<Vec<u64>>());
}

/// behind an aggregation on the task where it began, a query knows what was asked.
#[tokio::test]
async fn a_result_may_depend_on_what_was_asked() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Asking).await.expect("launch");
    let mean = |range| cluster.query(MEAN).invoke(range);
    let (one, other) = tokio::join!(mean((0, 11)), mean((100, 201)));
    assert_eq!(one.expect("mean"), (5, 11));
    assert_eq!(other.expect("mean"), (150, 201));
}

/// wherever a query has been, `origin_partition` leads to the task where it began.
#[tokio::test]
async fn the_origin_is_the_task_where_a_query_began() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Asking).await.expect("launch");
    for n in 0..20 {
        let (began, ended) = cluster.query(BACK).invoke(n).await.expect("back");
        assert_eq!(began, ended);
    }
}

/// where values of several tasks come together their order is that of some interleaving: each
/// task's own order, with one task's first value first and one task's last value last.
#[tokio::test]
async fn values_of_several_tasks_interleave() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Asking).await.expect("launch");
    let tasks = cluster.status().modules[0].tasks;
    for _ in 0..10 {
        let firsts = cluster.query(FIRSTS).invoke(()).await;
        let (first, last, all) = firsts.expect("firsts");
        assert_eq!(first.map(|(_, n)| n), Some(0));
        assert_eq!(last.map(|(_, n)| n), Some(2));
        for task in 0..tasks {
            let own = all.iter().filter(|(of, _)| *of == task);
            let own: Vec<u32> = own.map(|(_, n)| *n).collect();
            assert_eq!(own, [0, 1, 2], "of task {task}");
        }
    }
}

/// Its result is wherever the number lives.
struct Astray;

impl Module for Astray {
    fn define(&self, m: &mut Setup) {
        m.query(DOUBLE, |q| {
            q.map(|_, n| n * 2).hash_partition(|n| n).map(|_, n| n + 1)
        });
    }
}

/// a query's last partitioner is `origin_partition`; another one is no definition.
#[test]
fn a_result_that_does_not_come_back_is_no_definition() {
    let error = Definition::of(&Astray).expect_err("it ends elsewhere");
    let text = error.to_string();
    let elsewhere = "comes out on another task than the one where the query began";
    assert!(text.contains(elsewhere), "{text}");
}
