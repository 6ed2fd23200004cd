//! The interpreter: programs over plain collections, one record after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::program::{Hop, KEYS, Part, Program, Row, Step, Then};

/// All that a program writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sums: BTreeMap<u64, i64>,
    pub(super) greatest: BTreeMap<u64, i64>,
    pub(super) nested: BTreeMap<(u64, u64), i64>,
    pub(super) members: BTreeSet<(u64, u64)>,
    pub(super) history: BTreeMap<u64, Vec<i64>>,
    /// Of the tallies of all tasks.
    pub(super) total: i64,
}

impl State {
    pub(super) fn take(&mut self, program: &Program, (key, mut n): Row, tasks: u32) {
        if program.remembers {
            let history = self.history.entry(key).or_default();
            history.push(n);
            n = n.wrapping_mul(3) + history.len() as i64;
        }
        self.part(&program.first, (key, n), tasks);
    }

    fn part(&mut self, part: &Part, row: Row, tasks: u32) {
        let mut rows = vec![row];
        for step in &part.steps {
            rows = rows
                .into_iter()
                .flat_map(|row| self.step(*step, row))
                .collect();
        }
        for row in rows {
            self.then(&part.then, row, tasks);
        }
    }

    fn step(&mut self, step: Step, (key, n): Row) -> Vec<Row> {
        match step {
            Step::Move { by } => return vec![((key + by) % KEYS, n)],
            Step::Scale { by } => return vec![(key, n.wrapping_mul(by))],
            Step::Spread { copies } => {
                return (0..copies).map(|i| ((key + i) % KEYS, n)).collect();
            }
            Step::Drop { of } if key % of == 0 => return Vec::new(),
            Step::Drop { .. } => {}
            Step::Tally => self.total += n,
            Step::Sum => self.sum(key, n),
            Step::Nested { of } => {
                *self.nested.entry((key, n.unsigned_abs() % of)).or_default() += n;
            }
            Step::Member => {
                self.members.insert((key, n.unsigned_abs()));
            }
            Step::Greatest => {
                let greatest = self.greatest.entry(key).or_insert(n);
                *greatest = n.max(*greatest);
            }
        }
        vec![(key, n)]
    }

    fn then(&mut self, then: &Then, (key, n): Row, tasks: u32) {
        match then {
            Then::End => {}
            Then::Group => self.sum(key, n),
            Then::Hop(hop, part) => {
                let times = if matches!(hop, Hop::All) { tasks } else { 1 };
                for _ in 0..times {
                    self.part(part, (key, n), tasks);
                }
            }
            Then::Branch(side, rest) => {
                self.part(side, (key, n), tasks);
                self.part(rest, (key, n), tasks);
            }
            Then::Loop { rounds, then } => {
                for round in 0..*rounds {
                    self.sum((key + round) % KEYS, n);
                }
                self.part(then, ((key + rounds) % KEYS, n), tasks);
            }
            Then::Handle { calls, then } => {
                for call in 0..*calls {
                    self.sum((key + call) % KEYS, n);
                }
                self.part(then, (key, n + *calls as i64), tasks);
            }
        }
    }

    fn sum(&mut self, key: u64, n: i64) {
        *self.sums.entry(key).or_default() += n;
    }
}
