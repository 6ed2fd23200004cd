//! Task globals in running modules, most of them simulated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::schema::Map;
use crate::simulation::{SimulatedCluster, Simulation};
use crate::{
    AckLevel, Definition, Depot, ErrorKind, InProcessCluster, Module, PState, Partition, Setup,
    Task, TaskContext,
};

const ASKED: Depot<u64> = Depot::named("*asked");
const EXACTLY: Depot<u64> = Depot::named("*exactly");
/// By task.
const SEEN: PState<Map<u64, Vec<u64>>> = PState::named("$$seen");
const EXACT: PState<Map<u64, u64>> = PState::named("$$exact");

/// What the values of a module did.
#[derive(Clone, Default)]
struct Lives {
    made: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
}

struct Client {
    special: u64,
    calls: u64,
    ticks: u64,
    lives: Lives,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.lives.dropped.fetch_add(1, Relaxed);
    }
}

/// Each record asks every task for what its client, and its thread's, have to say.
#[derive(Default)]
struct Asking {
    clients: Lives,
    pools: Arc<AtomicU64>,
    fails: bool,
}

const FAIL: u64 = 13;
const NEST: u64 = 14;

impl Module for Asking {
    fn define(&self, m: &mut Setup) {
        m.depot(ASKED, Partition::random());
        m.depot(EXACTLY, Partition::random());
        let (lives, fails) = (self.clients.clone(), self.fails);
        let make = move |cx: &TaskContext| {
            if fails && cx.task_id() == 2 {
                return Err("no way to the server".into());
            }
            lives.made.fetch_add(1, Relaxed);
            Ok(Client {
                special: u64::from(cx.task_id()) * 10,
                calls: 0,
                ticks: 0,
                lives: lives.clone(),
            })
        };
        let every = Duration::from_millis(100);
        let client = m.task_global_with_tick("*client", every, make, |client, cx| {
            client.ticks += 1;
            assert!(cx.task_id() != 1, "no ticks here");
        });
        let pools = self.pools.clone();
        let pool = m.shared("*pool", move |cx: &TaskContext| {
            pools.fetch_add(1, Relaxed);
            Ok((cx.task_group().to_vec(), 0))
        });
        let mut stream = m.stream("asking");
        let by_task = |key: &u64, _: u32| *key as u32;
        let seen = stream.pstate_placed(SEEN, by_task);
        stream
            .source(ASKED)
            .all_partition()
            .each(move |task, record| {
                let said = client.with(task, |client| {
                    client.calls += 1;
                    vec![client.special, client.calls, client.ticks]
                });
                let of_pool = pool.with(task, |(group, calls)| {
                    *calls += 1;
                    vec![group.len() as u64, *calls]
                });
                let key = u64::from(task.id());
                seen.key(&key).set(task, [said, of_pool].concat());
                if record == FAIL {
                    task.fail("as asked");
                }
                if record == NEST {
                    client.with(task, |_| client.with(task, |_| ()));
                }
            });
        let mut exact = m.microbatch("exact");
        let special = exact.pstate_placed(EXACT, by_task);
        exact
            .source(EXACTLY)
            .all_partition()
            .each(move |task: &Task, _| {
                let said = client.with(task, |client| client.special);
                special.key(&u64::from(task.id())).set(task, said);
            });
    }
}

/// Special value, calls, ticks; tasks of the thread and their calls.
async fn seen(cluster: &SimulatedCluster, task: u64) -> Option<Vec<u64>> {
    cluster.pstate(SEEN).select(SEEN.key(&task)).await.unwrap()
}

fn asking<F: Future<Output = ()>>(module: Asking, test: impl Fn(SimulatedCluster) -> F) {
    for seed in 0..5 {
        let module = Asking {
            clients: module.clients.clone(),
            ..Asking::default()
        };
        let simulation = Simulation::seed(seed).tasks(4).threads(2);
        simulation.run(module, |cluster| async {
            cluster.calm().await;
            test(cluster).await;
        });
    }
}

/// G-1, G-2, 16.1 integrating (`special = taskId*10`): each topology finds the current task's own.
#[test]
fn each_task_has_a_value_of_its_own() {
    asking(Asking::default(), |cluster| async move {
        cluster.depot(ASKED).append(&1).await.unwrap();
        let ack = AckLevel::AppendAck;
        cluster.depot(EXACTLY).append_with(&1, ack).await.unwrap();
        for task in 0..4 {
            let exact = || cluster.pstate(EXACT).select(EXACT.key(&task));
            while exact().await.unwrap().is_none() {
                cluster.sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(exact().await.unwrap(), Some(task * 10));
            let seen = seen(&cluster, task).await.unwrap();
            assert_eq!(seen[..2], [task * 10, 1]);
        }
    });
}

/// G-3: ticks come on the task's thread at their interval; one that panics is not the last.
#[test]
fn a_value_ticks() {
    asking(Asking::default(), |cluster| async move {
        cluster.sleep(Duration::from_millis(1050)).await;
        cluster.depot(ASKED).append(&1).await.unwrap();
        for task in 0..4 {
            let ticks = seen(&cluster, task).await.unwrap()[2];
            assert!((9..=10).contains(&ticks), "{ticks} ticks on task {task}");
        }
    });
}

/// G-4, 20.5, 20.14: a failed event's changes stay while its writes go; a restart makes all anew.
#[test]
fn a_value_is_in_no_transaction_and_outlives_no_restart() {
    asking(Asking::default(), |cluster| async move {
        let asked = cluster.depot(ASKED);
        assert!(asked.append(&FAIL).await.is_err());
        let letters = || cluster.dead_letters("Asking");
        while letters().await.unwrap().is_empty() {
            cluster.sleep(Duration::from_millis(20)).await;
        }
        for task in 0..4 {
            assert_eq!(
                seen(&cluster, task).await,
                None,
                "a write of a failed event"
            );
        }
        asked.append(&1).await.unwrap();
        let calls = seen(&cluster, 3).await.unwrap()[1];
        assert!(calls > 1, "what failed left no trace");
        cluster.update(Asking::default()).await.unwrap();
        asked.append(&1).await.unwrap();
        assert_eq!(seen(&cluster, 3).await.unwrap()[1], 1);
    });
}

/// G-5: one for all tasks of a task thread.
#[test]
fn the_tasks_of_a_thread_share_a_value() {
    let pools = Arc::new(AtomicU64::new(0));
    let module = Asking {
        pools: pools.clone(),
        ..Asking::default()
    };
    let simulation = Simulation::seed(1).tasks(8).threads(2);
    simulation.run(module, |cluster| async move {
        cluster.calm().await;
        cluster.depot(ASKED).append(&1).await.unwrap();
        let mut calls = Vec::new();
        for task in 0..8 {
            let seen = seen(&cluster, task).await.unwrap();
            assert_eq!(seen[3], 4, "tasks of a thread");
            calls.push(seen[4]);
        }
        calls.sort_unstable();
        assert_eq!(calls, [1, 1, 2, 2, 3, 3, 4, 4]);
    });
    assert_eq!(pools.load(Relaxed), 2);
}

/// G-2, G-8: what was made at a start is dropped when the module stops, before it starts again.
#[test]
fn values_are_dropped_when_the_module_stops() {
    let first = Asking::default();
    let lives = &first.clients.clone();
    let simulation = Simulation::seed(1).tasks(4).threads(2);
    simulation.run(first, |cluster| async move {
        cluster.calm().await;
        let (made, dropped) = (&lives.made, &lives.dropped);
        let before = dropped.load(Relaxed);
        assert_eq!(made.load(Relaxed) - before, 4);
        cluster.update(Asking::default()).await.unwrap();
        assert_eq!(dropped.load(Relaxed), made.load(Relaxed));
        cluster.depot(ASKED).append(&1).await.unwrap();
    });
}

#[test]
fn a_value_lent_twice_fails_the_event() {
    asking(Asking::default(), |cluster| async move {
        let error = cluster.depot(ASKED).append(&NEST).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("*client: it is lent already"), "{text}");
    });
}

#[test]
fn a_launch_whose_value_cannot_be_made_says_which() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    let failing = Asking {
        fails: true,
        ..Asking::default()
    };
    let lives = failing.clients.clone();
    let error = crate::block_on(cluster.launch(failing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let text = format!("{error:#}");
    for part in [
        "*client of module Asking on task 2",
        "tests.rs:",
        "no way to the server",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(lives.made.load(Relaxed), lives.dropped.load(Relaxed));
    crate::block_on(cluster.launch(Asking::default())).unwrap();
    crate::block_on(cluster.depot(ASKED).append(&1)).unwrap();
}

/// T-10: what module code takes for the time is set and advanced by its test.
#[test]
fn a_test_sets_the_time_that_module_code_sees() {
    const TIMES: Depot<u64> = Depot::named("*times");
    struct Telling;
    impl Module for Telling {
        fn define(&self, m: &mut Setup) {
            m.depot(TIMES, Partition::random());
            let made = m.task_global("*made", |cx| Ok(cx.now_ms()));
            m.stream("tell").source(TIMES).each(move |task, _| {
                task.ack_return(&(task.now_ms(), made.with(task, |made| *made)));
            });
        }
    }
    let cluster = InProcessCluster::new(1, 1).unwrap();
    assert!(cluster.advance_time(Duration::from_secs(1)).is_err());
    cluster.set_time_ms(1_000);
    crate::block_on(cluster.launch(Telling)).unwrap();
    cluster.advance_time(Duration::from_secs(2)).unwrap();
    let told = crate::block_on(cluster.depot(TIMES).append(&1)).unwrap();
    assert_eq!(told.returns["tell"], serde_json::json!([3_000, 1_000]));
}

#[test]
fn names_of_values_are_checked_with_those_of_depots() {
    struct Wrong;
    impl Module for Wrong {
        fn define(&self, m: &mut Setup) {
            m.depot(ASKED, Partition::random());
            m.task_global("*asked", |_| Ok(1));
            m.task_global("plain", |_| Ok(1));
            m.task_global_with_tick("*tick", Duration::ZERO, |_| Ok(1), |_, _| ());
        }
    }
    let text = Definition::of(&Wrong).unwrap_err().to_string();
    for part in [
        "global *asked is declared twice",
        "global plain has a name that does not start with *",
        "global *tick ticks every 0 ms",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
