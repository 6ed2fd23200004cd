//! The conformance vectors of dataflow and aggregation that need no PState (spec §16.1, §17.2).

use std::collections::BTreeMap;

use crate::setup::Setup;
use crate::simulation::Simulation;
use crate::{Module, Query, Turn};

type Pairs = Vec<(String, u64)>;

const MERGED_SUM: Query<(Vec<u64>, Vec<u64>), u64> = Query::named("merged-sum");
const INNER: Query<(Pairs, Pairs), Vec<(String, u64, u64)>> = Query::named("inner");
const LEFT: Query<(Pairs, Pairs), Vec<(String, u64, Option<u64>)>> = Query::named("left");
const FULL: Query<(Pairs, Pairs), Vec<(String, Option<u64>, Option<u64>)>> = Query::named("full");
const ZEROS: Query<Vec<u64>, (u64, u64, Option<u64>)> = Query::named("zeros");
const GROUPS: Query<Pairs, Vec<(String, u64, u64)>> = Query::named("groups");
const MOST: Query<Vec<String>, Option<u64>> = Query::named("most");
const TOP: Query<Pairs, Vec<(String, u64, u64)>> = Query::named("top");
const DEEP: Query<u64, Vec<u64>> = Query::named("deep");
const COLLATZ: Query<u64, u32> = Query::named("collatz");
const TREE: Query<u64, Vec<u64>> = Query::named("tree");
const BOTH: Query<u64, Vec<u64>> = Query::named("both");

struct Vectors;

impl Module for Vectors {
    fn define(&self, m: &mut Setup) {
        m.query(MERGED_SUM, |q| {
            let (one, two) = q.shuffle_partition().fork();
            one.flat_map(|_, (one, _)| one)
                .merge(two.flat_map(|_, (_, two)| two))
                .origin_partition()
                .agg(|of| of.sum(|n| *n))
        });
        m.query(INNER, |q| {
            let (one, two) = q.fork();
            let one = one.flat_map(|_, (one, _)| one);
            let two = two.flat_map(|_, (_, two)| two);
            one.join(two, |row| row.0.clone(), |row| row.0.clone())
                .map(|_, (key, one, two)| (key, one.1, two.1))
                .origin_partition()
                .agg(|of| of.set(|row| row.clone()))
                .map(|_, rows| rows.into_iter().collect())
        });
        m.query(LEFT, |q| {
            let (one, two) = q.fork();
            let one = one.flat_map(|_, (one, _)| one);
            let two = two.flat_map(|_, (_, two)| two);
            one.left_join(two, |row| row.0.clone(), |row| row.0.clone())
                .map(|_, (key, one, two)| (key, one.1, two.map(|two| two.1)))
                .origin_partition()
                .agg(|of| of.set(|row| row.clone()))
                .map(|_, rows| rows.into_iter().collect())
        });
        m.query(FULL, |q| {
            let (one, two) = q.fork();
            let one = one.flat_map(|_, (one, _)| one);
            let two = two.flat_map(|_, (_, two)| two);
            one.full_join(two, |row| row.0.clone(), |row| row.0.clone())
                .map(|_, (key, one, two)| (key, one.map(|row| row.1), two.map(|row| row.1)))
                .origin_partition()
                .agg(|of| of.set(|row| row.clone()))
                .map(|_, rows| rows.into_iter().collect())
        });
        m.query(ZEROS, |q| {
            q.flat_map(|_, numbers| numbers)
                .origin_partition()
                .agg(|of| (of.count(), of.sum(|n| *n), of.max(|n| *n)))
        });
        m.query(GROUPS, |q| {
            q.flat_map(|_, pairs| pairs)
                .group_by(|pair| pair.0.clone())
                .agg(|of| (of.count(), of.sum(|pair| pair.1)))
                .map(|_, (key, (count, sum))| (key, count, sum))
                .origin_partition()
                .agg(|of| of.set(|row| row.clone()))
                .map(|_, rows| rows.into_iter().collect())
        });
        m.query(MOST, |q| {
            q.flat_map(|_, words| words)
                .group_by(|word| word.clone())
                .agg(|of| of.count())
                .origin_partition()
                .agg(|of| of.max(|(_, count)| *count))
        });
        m.query(TOP, |q| {
            q.flat_map(|_, pairs| pairs)
                .group_by(|pair| pair.0.clone())
                .agg(|of| (of.count(), of.max(|pair| pair.1)))
                .map(|_, (key, (count, max))| (key, count, max.unwrap_or(0)))
                .origin_partition()
                .agg(|of| of.top(2, |row| row.2).id(|row| row.0.clone()))
        });
        m.query(DEEP, |q| {
            q.origin_partition()
                .flat_map(|_, n| 0..n)
                .flat_map(|_, i| [i * 10, i * 10 + 1])
                .agg(|of| of.list(|n| *n))
        });
        m.query(COLLATZ, |q| {
            q.map(|_, n| (n, 0))
                .iterate(|round| {
                    round
                        .hash_partition(|(n, _)| n)
                        .map(|_, (n, steps)| match n {
                            1 => Turn::Emit(steps),
                            n if n % 2 == 0 => Turn::Again((n / 2, steps + 1)),
                            n => Turn::Again((3 * n + 1, steps + 1)),
                        })
                })
                .origin_partition()
        });
        m.query(TREE, |q| {
            q.iterate(|round| {
                round.hash_partition(|n| n).flat_map(|_, n| {
                    let children = [2 * n, 2 * n + 1].into_iter().filter(|child| *child < 32);
                    let mut turns = vec![Turn::Emit(n)];
                    turns.extend(children.map(Turn::Again));
                    turns
                })
            })
            .origin_partition()
            .agg(|of| of.set(|n| *n))
            .map(|_, seen| seen.into_iter().collect())
        });
        m.query(BOTH, |q| {
            let mut doubled = None;
            let rest = q.branch(|side| doubled = Some(side.map(|_, n| n * 2)));
            rest.merge(doubled.expect("the branch was built"))
                .origin_partition()
                .agg(|of| of.list(|n| *n))
        });
    }
}

fn pairs(pairs: &[(&str, u64)]) -> Pairs {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect()
}

fn some(rows: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    let rows = rows.iter();
    rows.map(|(key, one, two)| ((*key).to_owned(), *one, *two))
        .collect()
}

#[test]
fn the_vectors_of_dataflow_and_aggregation_hold() {
    for seed in 0..12 {
        let tasks = [1, 2, 4, 8][seed as usize % 4];
        let machines = 1 + seed as u32 % 2;
        let simulation = Simulation::seed(seed)
            .tasks(tasks)
            .machines(machines.min(tasks));
        simulation.run(Vectors, move |cluster| async move {
            cluster.calm().await;
            // F-24: a merge is a bag union.
            let args = (vec![1, 2], vec![2, 3]);
            assert_eq!(cluster.query(MERGED_SUM).invoke(args).await.unwrap(), 8);
            // F-23.
            let args = (
                pairs(&[("a", 1), ("b", 2), ("c", 3)]),
                pairs(&[("a", 10), ("a", 11), ("c", 30)]),
            );
            let inner = cluster.query(INNER).invoke(args).await.unwrap();
            assert_eq!(inner, some(&[("a", 1, 10), ("a", 1, 11), ("c", 3, 30)]));
            // F-25.
            let args = (
                pairs(&[("a", 1), ("b", 2), ("c", 3)]),
                pairs(&[("a", 10), ("b", 20), ("d", 40)]),
            );
            let left = cluster.query(LEFT).invoke(args.clone()).await.unwrap();
            let left: Vec<_> = left.iter().map(|row| (&*row.0, row.1, row.2)).collect();
            assert_eq!(
                left,
                [("a", 1, Some(10)), ("b", 2, Some(20)), ("c", 3, None)]
            );
            let full = cluster.query(FULL).invoke(args).await.unwrap();
            let full: BTreeMap<_, _> = full
                .into_iter()
                .map(|row| (row.0, (row.1, row.2)))
                .collect();
            assert_eq!(full["c"], (Some(3), None));
            assert_eq!(full["d"], (None, Some(40)));
            assert_eq!(full.len(), 4);
            // F-28: zero values without rows.
            assert_eq!(
                cluster.query(ZEROS).invoke(vec![]).await.unwrap(),
                (0, 0, None)
            );
            assert_eq!(
                cluster.query(ZEROS).invoke(vec![3, 4]).await.unwrap(),
                (2, 7, Some(4))
            );
            //
            let rows = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 10), ("c", 9)];
            let groups = cluster.query(GROUPS).invoke(pairs(&rows)).await.unwrap();
            assert_eq!(groups, some(&[("a", 3, 8), ("b", 2, 12), ("c", 1, 9)]));
            // F-32: an aggregation of an aggregation.
            let words = ["a", "b", "c", "a"].map(str::to_owned).to_vec();
            assert_eq!(cluster.query(MOST).invoke(words).await.unwrap(), Some(2));
            assert_eq!(cluster.query(MOST).invoke(vec![]).await.unwrap(), None);
            // spec §16.1 aggregators.GroupBy.
            let fruit = [("apple", 1), ("apple", 7), ("banana", 9), ("plum", 1)];
            let top = cluster.query(TOP).invoke(pairs(&fruit)).await.unwrap();
            assert_eq!(top, some(&[("banana", 1, 9), ("apple", 2, 7)]));
            // F-1: depth first.
            let deep = cluster.query(DEEP).invoke(3).await.unwrap();
            assert_eq!(deep, [0, 1, 10, 11, 20, 21]);
            // F-16, F-18: a loop over tasks.
            assert_eq!(cluster.query(COLLATZ).invoke(27).await.unwrap(), 111);
            // F-19: several rounds from one.
            let tree = cluster.query(TREE).invoke(1).await.unwrap();
            assert_eq!(tree, (1..32).collect::<Vec<u64>>());
            // F-10, F-12: every branch once per value, behind the merge once per emission.
            let mut both = cluster.query(BOTH).invoke(21).await.unwrap();
            both.sort_unstable();
            assert_eq!(both, [21, 42]);
        });
    }
}
