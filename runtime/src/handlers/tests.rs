//! Handlers in all kinds of topologies: what they see, what they wait for, and what a failure leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::mutants::Mutant;
use crate::schema::Map;
use crate::setup::{Setup, Topology};
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::topology_def::Consumes;
use crate::{AckLevel, At, Depot, Module, PState, Partition, Query, SourceOptions, Step, Task};

/// Customer, number of the order, wanted items and how many of each.
type Order = (u64, u64, Vec<(u64, u64)>);

const ORDERS: Depot<Order> = Depot::named("*orders");
const SHIPPED: Depot<(u64, u64)> = Depot::named("*shipped");
const STOCK: PState<Map<u64, u64>> = PState::named("$$stock");
const SOLD: PState<Map<u64, Map<u64, Vec<u64>>>> = PState::named("$$sold");
const SENT: PState<Map<u64, u64>> = PState::named("$$sent");
const LEFT: Query<Vec<u64>, Vec<u64>> = Query::named("left");

const ITEMS: u64 = 8;
const AT_FIRST: u64 = 1_000;

/// A shop whose customers and items are on different tasks: TPC-C's new order in small.
#[derive(Default)]
struct Shop {
    /// Orders are taken by a stream instead of a microbatch.
    streaming: bool,
    /// So many steps fail before one succeeds.
    failures: Arc<AtomicU64>,
}

fn retried<K>() -> SourceOptions<K> {
    SourceOptions::new()
        .start_from_beginning()
        .retries(u32::MAX)
        .backoff(Duration::ZERO, Duration::from_millis(2))
}

impl Shop {
    fn take<K: Consumes>(&self, topology: &mut Topology<K>) -> Step<(u64, u64), u64> {
        let (stock, failures) = (topology.pstate(STOCK), self.failures.clone());
        topology.step(move |task: &Task, (item, wanted): (u64, u64)| {
            let left = failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            if left.is_ok() {
                task.fail("the shelf is stuck");
            }
            let left = stock.key(&item).get(task).unwrap_or(AT_FIRST);
            let taken = wanted.min(left);
            stock.key(&item).set(task, left - taken);
            taken
        })
    }

    fn orders<K: Consumes>(&self, mut topology: Topology<K>) {
        let take = self.take(&mut topology);
        let (sold, sent) = (topology.pstate(SOLD), topology.pstate(SENT));
        let note = topology.step(move |task: &Task, (item, count): (u64, u64)| {
            sent.key(&item).update(task, |all| all.unwrap_or(0) + count);
        });
        let source = topology.source_with(ORDERS, retried());
        source
            .then_async(move |cx, (customer, number, lines): Order| async move {
                let known = sold.key(&customer).key(&number).get(&cx);
                let wanted = lines.iter();
                let wanted = wanted.map(|&(item, count)| (At::home(&item), take, (item, count)));
                let taken = cx.call_all(wanted).await?;
                // What was there before the first `.await` may have changed; this order has not.
                assert_eq!(known, sold.key(&customer).key(&number).get(&cx));
                for ((item, _), taken) in lines.iter().zip(&taken) {
                    cx.send(At::home(item), note, (*item, *taken))?;
                }
                cx.sleep(Duration::from_millis(1)).await;
                sold.key(&customer).key(&number).set(&cx, taken.clone());
                Ok::<_, crate::Error>((customer, taken.into_iter().sum::<u64>()))
            })
            .each(|task, (_, sum)| task.ack_return(&sum));
    }
}

impl Module for Shop {
    fn define(&self, m: &mut Setup) {
        m.depot(ORDERS, Partition::hash_by(|order: &Order| order.0));
        match self.streaming {
            true => {
                let topology = m.stream("orders");
                self.orders(topology);
            }
            false => {
                let topology = m.microbatch("orders");
                self.orders(topology);
            }
        }
    }
}

/// Waits until at least so many records of each topology, and all that are known, are processed: that a
/// depot has grown is known a moment after the append is acknowledged.
async fn settle(cluster: &SimulatedCluster, records: usize) {
    let settled = || {
        let status = cluster.status();
        let mut topologies = status.modules[0].topologies.iter();
        topologies.all(|found| found.lag == 0 && found.processed >= records as u64)
    };
    while !settled() {
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

fn order(customer: u64, number: u64) -> Order {
    let lines = (0..3).map(|line| ((customer + number + line) % ITEMS, 1 + line));
    (customer, number, lines.collect())
}

/// What is stored of these orders, when each counted once.
async fn check(cluster: &SimulatedCluster, orders: &[Order], seed: u64) {
    let mut left = [AT_FIRST; ITEMS as usize];
    for (customer, number, lines) in orders {
        let taken: Vec<u64> = lines.iter().map(|(_, count)| *count).collect();
        let path = SOLD.key(customer).key(number);
        let sold = cluster.pstate(SOLD).select(path).await.unwrap();
        assert_eq!(sold, Some(taken), "seed {seed}: {customer}/{number}");
        for (item, count) in lines {
            left[*item as usize] -= count;
        }
    }
    for item in 0..ITEMS {
        let stock = cluster
            .pstate(STOCK)
            .select(STOCK.key(&item))
            .await
            .unwrap();
        let sent = cluster.pstate(SENT).select(SENT.key(&item)).await.unwrap();
        let expected = left[item as usize];
        assert_eq!(
            stock.unwrap_or(AT_FIRST),
            expected,
            "seed {seed}: item {item}"
        );
        assert_eq!(
            sent.unwrap_or(0),
            AT_FIRST - expected,
            "seed {seed}: item {item}"
        );
    }
}

/// M-4, F-7: handlers of a microbatch go back and forth between tasks, and count once whatever fails.
#[test]
fn a_microbatch_of_handlers_counts_once_under_faults() {
    for seed in 0..20 {
        let module = Shop {
            failures: Arc::new(AtomicU64::new(seed % 3)),
            ..Shop::default()
        };
        let simulation = Simulation::seed(seed).tasks(4).faults(Faults::all());
        simulation.run(module, move |cluster| async move {
            let mut sure = Vec::new();
            for number in 0..20 {
                let order = order(number % 5, number);
                loop {
                    let appended = cluster
                        .depot(ORDERS)
                        .append_with(&order, AckLevel::AppendAck);
                    match appended.await {
                        Ok(_) => break,
                        // Whether it was taken is not known: the same number would count twice.
                        Err(_) => cluster.sleep(Duration::from_millis(5)).await,
                    }
                    let path = SOLD.key(&order.0).key(&order.1);
                    cluster.calm().await;
                    settle(&cluster, sure.len()).await;
                    let found = cluster.pstate(SOLD).select(path).await.unwrap();
                    if found.is_some() {
                        break;
                    }
                }
                sure.push(order);
            }
            cluster.calm().await;
            settle(&cluster, sure.len()).await;
            check(&cluster, &sure, seed).await;
        });
    }
}

/// S-3, S-18, D-15: an appender waits for all that a handler waits for, and for what it does not wait
/// for; S-8: what fails on another task is tried again from the beginning.
#[test]
fn a_stream_of_handlers_is_acknowledged_when_all_of_it_is_done() {
    for seed in 0..10 {
        let module = Shop {
            streaming: true,
            failures: Arc::default(),
        };
        let (failures, machines) = (&module.failures.clone(), 1 + seed as u32 % 2);
        let simulation = Simulation::seed(seed).tasks(4).machines(machines);
        simulation.run(module, move |cluster| async move {
            cluster.calm().await;
            let mut done = Vec::new();
            for number in 0..10 {
                let order = order(number % 3, number);
                let sum: u64 = order.2.iter().map(|(_, count)| count).sum();
                let appended = cluster.depot(ORDERS).append(&order).await.unwrap();
                assert_eq!(appended.returns["orders"], serde_json::json!(sum));
                done.push(order);
                check(&cluster, &done, seed).await;
            }
            // The first try of this one fails on the task of an item.
            failures.store(1, Relaxed);
            let order = order(0, 99);
            let error = cluster.depot(ORDERS).append(&order).await.unwrap_err();
            assert!(
                format!("{error:#}").contains("the shelf is stuck"),
                "{error:#}"
            );
            settle(&cluster, done.len()).await;
            let path = SOLD.key(&0).key(&99);
            let sold = cluster.pstate(SOLD).select(path).await.unwrap();
            assert_eq!(sold, Some(vec![1, 2, 3]), "seed {seed}");
        });
    }
}

/// Handlers that write between two things they wait for, among events that fail.
struct Unlucky {
    /// How often a handler went on without what it had written.
    lost: Arc<AtomicU64>,
}

impl Module for Unlucky {
    fn define(&self, m: &mut Setup) {
        m.depot(ORDERS, Partition::hash_by(|order: &Order| order.0));
        let mut s = m.stream("orders");
        let (marks, lost) = (s.pstate(SENT).unaligned(), self.lost.clone());
        let echo = s.step(|_: &Task, n: u64| n);
        s.source_with(ORDERS, retried())
            .each_async(move |cx, (customer, ..): Order| {
                let lost = lost.clone();
                async move {
                    let mark = cx.random_u64();
                    let (soon, later) = (
                        cx.call(At::home(&(customer + 1)), echo, 1),
                        cx.sleep(Duration::from_millis(3)),
                    );
                    soon.await?;
                    marks.key(&mark).set(&cx, 1);
                    if cx.random_u64().is_multiple_of(4) {
                        cx.fail("bad luck");
                    }
                    later.await;
                    if marks.key(&mark).get(&cx).is_none() {
                        lost.fetch_add(1, Relaxed);
                    }
                    Ok::<_, crate::Error>(())
                }
            });
    }
}

fn lost_marks(seed: u64, mutant: Option<Mutant>) -> u64 {
    let lost = Arc::<AtomicU64>::default();
    let module = Unlucky { lost: lost.clone() };
    let simulation = Simulation::seed(seed).tasks(2).mutant(mutant);
    simulation.run(module, |cluster| async move {
        cluster.calm().await;
        let orders: Vec<Order> = (0..30).map(|number| (number, number, Vec::new())).collect();
        let depot = cluster.depot(ORDERS);
        depot
            .append_many(&orders, AckLevel::AppendAck)
            .await
            .unwrap();
        settle(&cluster, orders.len()).await;
    });
    lost.load(Relaxed)
}

/// S-9, S-11: a handler whose writes were thrown away with a batch never goes on; its record is tried
/// again from the beginning.
#[test]
fn a_handler_never_goes_on_without_what_it_wrote() {
    for seed in 0..20 {
        assert_eq!(lost_marks(seed, None), 0, "seed {seed}");
    }
    let seen = (0..20).any(|seed| lost_marks(seed, Some(Mutant::HandlerKept)) > 0);
    assert!(seen, "a stream that keeps such handlers is not seen");
}

/// What handlers may wait for besides steps.
struct Waits;

impl Module for Waits {
    fn define(&self, m: &mut Setup) {
        m.depot(ORDERS, Partition::hash_by(|order: &Order| order.0));
        m.depot(SHIPPED, Partition::disallow());
        m.query(LEFT, |q| {
            let left = q.step(|task: &Task, item: u64| (item, u64::from(task.id())));
            q.then_async(move |cx, items: Vec<u64>| async move {
                // Answers are taken in the order in which they come.
                let calls = items
                    .iter()
                    .map(|item| cx.call(At::home(item), left, *item));
                let mut calls: FuturesUnordered<_> = calls.collect();
                let mut found = Vec::new();
                while let Some(answer) = calls.next().await {
                    found.push(answer?);
                }
                found.sort_unstable();
                let tasks = found.into_iter().map(|(_, task)| task);
                Ok::<_, crate::Error>(tasks.collect::<Vec<_>>())
            })
            .origin_partition()
        });
        let mut s = m.stream("orders");
        let sold = s.pstate(SOLD);
        let nowhere = s.step(|_: &Task, (): ()| ());
        s.source(ORDERS)
            .each_async(move |cx, (customer, number, lines): Order| async move {
                match number {
                    // A future that nothing wakes, a task that does not exist, a deadlock.
                    100 => std::future::pending().await,
                    101 => cx.call(At::task(77), nowhere, ()).await?,
                    102 => {
                        let order = (customer, 0, lines.clone());
                        cx.append(ORDERS, order, AckLevel::Ack).await?;
                    }
                    _ => {}
                }
                let items = lines.iter().map(|(item, _)| *item).collect();
                let tasks = cx.query(LEFT, items).await?;
                let shipped = cx
                    .append(SHIPPED, (customer, number), AckLevel::Ack)
                    .await?;
                assert_eq!(shipped.partition, cx.id());
                let five = cx.wait(async { 5 }).await;
                sold.key(&customer).key(&number).set(&cx, tasks);
                cx.ack_return(&five);
                Ok::<_, crate::Error>(())
            });
    }
}

/// F-7, D-30, D-31, D-32, Q-8, G-7: queries, appends and other futures; what cannot be waited for says
/// so at once.
#[test]
fn handlers_wait_for_queries_appends_and_other_futures() {
    for machines in [1, 2] {
        let simulation = Simulation::seed(3).tasks(4).machines(machines);
        simulation.run(Waits, |cluster| async move {
            cluster.calm().await;
            let items: Vec<u64> = (0..ITEMS).collect();
            let homes: Vec<u64> = items
                .iter()
                .map(|item| u64::from(At::home(item).among(4).unwrap()))
                .collect();
            let found = cluster.query(LEFT).invoke(items.clone()).await.unwrap();
            assert_eq!(found, homes);
            let lines: Vec<_> = items.iter().map(|item| (*item, 1)).collect();
            let order = (1, 1, lines.clone());
            let appended = cluster.depot(ORDERS).append(&order).await.unwrap();
            assert_eq!(appended.returns["orders"], serde_json::json!(5));
            let path = SOLD.key(&1).key(&1);
            let sold = cluster.pstate(SOLD).select(path).await.unwrap();
            assert_eq!(sold, Some(homes));
            for (number, text) in [
                (100, "waits for a future that nothing here will wake"),
                (101, "could not call a step on task 77: there are 4 tasks"),
                (102, "would wait for the stream that waits for it"),
            ] {
                let order = (1, number, lines.clone());
                let error = cluster.depot(ORDERS).append(&order).await.unwrap_err();
                assert!(format!("{error:#}").contains(text), "{error:#}");
            }
        });
    }
}
