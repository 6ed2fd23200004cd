//! A program as a module.
//!
//! Relies on the author's API alone. Rows keep their type, so that a chain behind a partitioner is of
//! one type however long it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::program::{Hop, KEYS, Part, Program, Row, Step as Does, Then};
use crate::dataflow::{Begin, Entrance, Steps};
use crate::topology_def::Consumes;
use crate::{
    At, Depot, Flow, List, LocalPState, Map, Microbatch, Module, PState, Partition, Query, Set,
    Setup, SourceOptions, Step, Stream, Task, Topology, Turn,
};

pub(super) const RECORDS: Depot<Row> = Depot::named("*records");
pub(super) const SUMS: PState<Map<u64, i64>> = PState::named("$$sums");
pub(super) const GREATEST: PState<Map<u64, i64>> = PState::named("$$greatest");
pub(super) const NESTED: PState<Map<u64, Map<u64, i64>>> = PState::named("$$nested");
pub(super) const MEMBERS: PState<Map<u64, Set<u64>>> = PState::named("$$members");
pub(super) const HISTORY: PState<Map<u64, List<i64>>> = PState::named("$$history");
pub(super) const TALLY: PState<i64> = PState::named("$$tally");
pub(super) const TOTAL: Query<(), i64> = Query::named("total");

pub(super) struct RandomModule {
    pub(super) program: Program,
    /// So many events fail, at random.
    pub(super) failures: Arc<AtomicU64>,
}

impl Module for RandomModule {
    fn define(&self, m: &mut Setup) {
        m.depot(RECORDS, Partition::hash_by(|row: &Row| row.0));
        let tally = match self.program.streams {
            true => self.topology(m.stream("program")),
            false => self.topology(m.microbatch("program")),
        };
        m.query(TOTAL, |q| {
            q.all_partition()
                .map(move |task, ()| tally.root().get(task).unwrap_or(0))
                .origin_partition()
                .agg(|of| of.sum(|n| *n))
        });
    }
}

/// What code of a program uses.
#[derive(Clone, Copy)]
struct Parts {
    sums: LocalPState<Map<u64, i64>>,
    greatest: LocalPState<Map<u64, i64>>,
    nested: LocalPState<Map<u64, Map<u64, i64>>>,
    members: LocalPState<Map<u64, Set<u64>>>,
    history: LocalPState<Map<u64, List<i64>>>,
    tally: LocalPState<i64>,
    add: Step<Row, i64>,
}

/// Where the two kinds of topologies differ.
trait Groups: Consumes + Sized {
    fn group<In, S>(flow: Flow<Self, In, S, Row>, parts: Parts)
    where
        In: Entrance,
        S: Steps<In::Value, Out = Row>;
}

impl Groups for Microbatch {
    fn group<In, S>(flow: Flow<Self, In, S, Row>, parts: Parts)
    where
        In: Entrance,
        S: Steps<In::Value, Out = Row>,
    {
        flow.group_by(|row| row.0)
            .agg_into(parts.sums, |of| of.sum(|row| row.1));
    }
}

impl Groups for Stream {
    fn group<In, S>(flow: Flow<Self, In, S, Row>, parts: Parts)
    where
        In: Entrance,
        S: Steps<In::Value, Out = Row>,
    {
        flow.hash_partition(|row| row.0)
            .each(move |task, row| parts.sum(task, row));
    }
}

impl Parts {
    fn sum(&self, task: &Task, (key, n): Row) {
        self.sums.key(&key).update(task, |sum| sum.unwrap_or(0) + n);
    }

    fn step(&self, task: &Task, step: Does, (key, n): Row) -> Vec<Row> {
        match step {
            Does::Move { by } => return vec![((key + by) % KEYS, n)],
            Does::Scale { by } => return vec![(key, n.wrapping_mul(by))],
            Does::Spread { copies } => {
                return (0..copies).map(|i| ((key + i) % KEYS, n)).collect();
            }
            Does::Drop { of } if key % of == 0 => return Vec::new(),
            Does::Drop { .. } => {}
            Does::Tally => self.tally.root().update(task, |all| all.unwrap_or(0) + n),
            Does::Sum => self.sum(task, (key, n)),
            Does::Nested { of } => {
                let path = self.nested.key(&key).key(&(n.unsigned_abs() % of));
                path.update(task, |sum| sum.unwrap_or(0) + n);
            }
            Does::Member => self.members.key(&key).insert(task, &n.unsigned_abs()),
            Does::Greatest => {
                let path = self.greatest.key(&key);
                path.update(task, |old| old.map_or(n, |old| old.max(n)));
            }
        }
        vec![(key, n)]
    }

    fn steps(&self, task: &Task, steps: &[Does], row: Row) -> Vec<Row> {
        let mut rows = vec![row];
        for step in steps {
            let run = |row| self.step(task, *step, row);
            rows = rows.into_iter().flat_map(run).collect();
        }
        rows
    }
}

impl RandomModule {
    fn topology<K: Groups>(&self, mut topology: Topology<K>) -> LocalPState<i64> {
        let sums = topology.pstate(SUMS);
        let add = topology.step(move |task: &Task, (key, n): Row| {
            sums.key(&key).update(task, |sum| sum.unwrap_or(0) + n);
            1
        });
        let parts = Parts {
            sums,
            greatest: topology.pstate(GREATEST),
            nested: topology.pstate(NESTED),
            members: topology.pstate(MEMBERS),
            history: topology.pstate(HISTORY),
            tally: topology.pstate(TALLY),
            add,
        };
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(u32::MAX)
            .backoff(Duration::ZERO, Duration::ZERO);
        let remembers = self.program.remembers;
        let flow = topology
            .source_with(RECORDS, options)
            .map(move |task, row: Row| {
                let (key, mut n) = row;
                if remembers {
                    let history = parts.history.key(&key);
                    history.append(task, n);
                    n = n.wrapping_mul(3) + history.len(task) as i64;
                }
                (key, n)
            });
        let (one, two) = flow.fork();
        two.done();
        part(one, &self.program.first, parts, &self.failures);
        parts.tally
    }
}

/// Builds a part at the end of a chain. Each follows a boundary or a fork, so that there are two types
/// of chains in all.
fn part<K, In>(flow: Flow<K, In, Begin, Row>, part_: &Part, parts: Parts, failures: &Arc<AtomicU64>)
where
    K: Groups,
    In: Entrance<Value = Row>,
{
    let steps: Arc<[Does]> = part_.steps.clone().into();
    let budget = failures.clone();
    let flow = flow.flat_map(move |task, row| {
        if task.random_u64().is_multiple_of(20)
            && budget
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
        {
            task.fail("bad luck");
        }
        parts.steps(task, &steps, row)
    });
    match &part_.then {
        Then::End => flow.done(),
        Then::Group => K::group(flow, parts),
        Then::Hop(hop, next) => {
            let flow = match hop {
                Hop::Hash => flow.hash_partition(|row| row.0),
                Hop::All => flow.all_partition(),
                Hop::Global => flow.global_partition(),
                Hop::Shuffle => flow.shuffle_partition(),
                Hop::Direct => flow.custom_partition(|row, tasks| (row.0 * 7) as u32 % tasks),
            };
            part(flow, next, parts, failures);
        }
        Then::Branch(side, rest) => {
            let (one, two) = flow.fork();
            part(one, side, parts, failures);
            part(two, rest, parts, failures);
        }
        Then::Loop { rounds, then } => {
            let rounds = *rounds;
            let flow = flow.map(move |_, row| (row, rounds)).iterate(|round| {
                round
                    .hash_partition(|(row, _)| row.0)
                    .map(move |task, ((key, n), left)| {
                        if left == 0 {
                            return Turn::Emit((key, n));
                        }
                        parts.sum(task, (key, n));
                        Turn::Again((((key + 1) % KEYS, n), left - 1))
                    })
            });
            part(flow, then, parts, failures);
        }
        Then::Handle { calls, then } => {
            let calls = *calls;
            let flow = flow.then_async(move |cx, (key, n): Row| async move {
                let to = (0..calls).map(|call| (key + call) % KEYS);
                let all = to.map(|key| (At::home(&key), parts.add, (key, n)));
                let done: i64 = cx.call_all(all).await?.into_iter().sum();
                Ok::<_, crate::Error>((key, n + done))
            });
            part(flow, then, parts, failures);
        }
    }
}
