//! Temporary values in queries and microbatches, and where they are refused.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Temporary;
use crate::helpers::keys_for_tasks;
use crate::schema::Map;
use crate::setup::Setup;
use crate::simulation::{Faults, Simulation};
use crate::topology_def::SourceOptions;
use crate::{At, Depot, ErrorKind, Module, PState, Query, Turn};

const LINKS: Depot<(u64, Vec<u64>)> = Depot::named("*links");
const NEXT: PState<Map<u64, Vec<u64>>> = PState::named("$$next");
/// Of how many links of one microbatch each task has seen that many.
const SEEN: PState<Map<u32, u64>> = PState::named("$$seen");
const REACHED: Query<u64, BTreeSet<u64>> = Query::named("reached");
const NESTED: Query<(), u64> = Query::named("nested");
const ASYNC: Query<bool, u64> = Query::named("async");
const ANOTHERS: Query<(), u64> = Query::named("anothers");

struct Graph {
    /// Uses the value of a query in the stream.
    strays: bool,
}

impl Module for Graph {
    fn define(&self, m: &mut Setup) {
        m.depot_by(LINKS, |link| &link.0);
        let strays = self.strays;
        let mut strayed: Option<Temporary<u64>> = None;
        m.query(NESTED, |q| {
            let value = q.temporary::<u64>();
            strayed = Some(value);
            q.origin_partition().map(move |task, ()| {
                value.with(task, |outer| {
                    value.with(task, |inner| *inner += 1);
                    *outer
                })
            })
        });
        let strayed = strayed.expect("the query was built");
        m.query(ANOTHERS, |q| {
            let own = q.temporary::<u64>();
            q.origin_partition().map(move |task, ()| {
                own.with(task, |own| *own += 1);
                strayed.with(task, |strayed| *strayed)
            })
        });
        m.query(ASYNC, |q| {
            let kept = q.temporary::<u64>();
            let add = q.step(move |task, more: u64| {
                kept.with(task, |kept| {
                    *kept += more;
                    *kept
                })
            });
            q.then_async(move |cx, astray: bool| async move {
                cx.call(At::task(0), add, 2).await?;
                match astray {
                    true => Ok::<_, crate::Error>(kept.with(&cx, |kept| *kept)),
                    false => cx.call(At::task(0), add, 3).await,
                }
            })
            .origin_partition()
        });
        let mut s = m.stream("links");
        let next = s.pstate(NEXT);
        let options = SourceOptions::new().start_from_beginning().retry_none();
        s.source_with(LINKS, options).each(move |task, (from, to)| {
            if strays {
                strayed.with(task, |value| *value += 1);
            }
            next.key(&from).set(task, to);
        });
        let mut mb = m.microbatch("seen");
        let seen = mb.pstate(SEEN);
        let options = SourceOptions::new().start_from_beginning();
        let links = mb.source_with(LINKS, options);
        let count = links.temporary::<u64>();
        links
            .inspect(move |task, _| count.with(task, |count| *count += 1))
            .all_partition()
            .agg(|of| of.count())
            .each(move |task, _| {
                let here = count.with(task, |count| *count);
                let path = seen.unaligned().key(&task.id());
                path.update(task, |so_far| so_far.unwrap_or(0) + here);
            });
        m.query(REACHED, |q| {
            let seen = q.temporary::<BTreeSet<u64>>();
            q.iterate(|round| {
                round
                    .hash_partition_by(|node| node)
                    .filter(move |task, node| seen.with(task, |seen| seen.insert(*node)))
                    .flat_map(move |task, node| {
                        let next = next.key(&node).get(task).unwrap_or_default();
                        let next = next.into_iter().map(Turn::Again);
                        next.chain([Turn::Emit(node)]).collect::<Vec<_>>()
                    })
            })
            .origin_partition()
            .agg(|of| of.set(|node| *node))
        });
    }
}

/// what is kept on a task is seen by every event of the invocation there, and by no other
/// invocation; a search that goes round in circles ends.
#[test]
fn a_query_keeps_values_of_its_own_on_each_task() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).tasks(1 << (seed % 4));
        simulation.run(Graph { strays: false }, |cluster| async move {
            for node in 0..6 {
                let link = (node, vec![(node + 1) % 6, node]);
                cluster.depot(LINKS).append(&link).await.unwrap();
            }
            for _ in 0..2 {
                let reached = cluster.query(REACHED).invoke(3).await.unwrap();
                assert_eq!(reached, BTreeSet::from([0, 1, 2, 3, 4, 5]), "seed {seed}");
            }
            assert_eq!(
                cluster.query(REACHED).invoke(9).await.unwrap(),
                BTreeSet::from([9])
            );
        });
    }
}

/// F-34: a microbatch begins with nothing, also when it is tried again.
#[test]
fn an_attempt_of_a_microbatch_begins_without_what_another_kept() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).tasks(4).faults(Faults::all());
        simulation.run(Graph { strays: false }, |cluster| async move {
            for node in 0..30 {
                let append = cluster.depot(LINKS).append(&(node, vec![]));
                if append.await.is_err() {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
            }
            cluster.calm().await;
            for (task, home) in (0..).zip(keys_for_tasks(4)) {
                let offsets = cluster.depot(LINKS).partition_info(task).await.unwrap();
                let expected = (offsets.end > 0).then_some(offsets.end);
                let mut seen = None;
                for _ in 0..200 {
                    let partition = SEEN.routed_by(&home).key(&task);
                    seen = cluster.pstate(SEEN).select_one(partition).await.unwrap();
                    if seen.filter(|seen| *seen > 0) == expected {
                        break;
                    }
                    cluster.sleep(Duration::from_millis(50)).await;
                }
                assert_eq!(
                    seen.filter(|seen| *seen > 0),
                    expected,
                    "seed {seed}: task {task}"
                );
            }
        });
    }
}

/// A value is lent once at a time, and to its own topology.
#[test]
fn what_would_mix_values_up_fails_the_event() {
    Simulation::seed(1)
        .tasks(2)
        .run(Graph { strays: true }, |cluster| async move {
            let nested = cluster.query(NESTED).invoke(()).await.unwrap_err();
            assert_eq!(nested.kind(), ErrorKind::Failed);
            assert!(
                nested.to_string().contains("it is lent already"),
                "{nested}"
            );
            let anothers = cluster.query(ANOTHERS).invoke(()).await.unwrap_err();
            assert!(
                anothers.to_string().contains("that of another topology"),
                "{anothers}"
            );
            assert_eq!(cluster.query(ASYNC).invoke(false).await.unwrap(), 5);
            let code = cluster.query(ASYNC).invoke(true).await.unwrap_err();
            assert!(code.to_string().contains("async code have none"), "{code}");
            let stream = cluster.depot(LINKS).append(&(1, vec![])).await.unwrap_err();
            assert!(
                stream
                    .to_string()
                    .contains("streams and async code have none"),
                "{stream}"
            );
        });
}
