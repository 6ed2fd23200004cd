//! Which node each worker of a column gets.
//!
//! First every column keeps the nodes that hold most of its tasks already. Open seats go to the
//! node with the fewest workers of this module, then of others. Then, unless nothing may move,
//! single workers move from the fullest node to the emptiest: a node with more workers than another
//! always has a column that the other lacks, so one move always suffices, and what just came is
//! moved before what stands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Candidate, Movement, Request, columns};
use crate::ids::NodeId;
use crate::plan::Plan;
use crate::shape::Shape;

/// A node that holds tasks of a column now: how many, and as which replica.
struct Tie {
    tasks: u32,
    column: usize,
    set: usize,
    node: usize,
}

struct Seats {
    /// By column and replica set: index of a candidate.
    seat: Vec<Vec<Option<usize>>>,
    /// By candidate: columns with a worker on it. The bool orders newcomers before those who stay.
    on: Vec<BTreeSet<(bool, usize)>>,
    foreign: Vec<u32>,
    /// (workers of this module, of others, candidate).
    by_load: BTreeSet<(usize, u32, usize)>,
}

/// A node for every worker, by column and replica set.
pub(super) fn assign(
    columns: &[Vec<u32>],
    candidates: &[Candidate],
    request: &Request,
    steps: &mut u64,
) -> Vec<Vec<NodeId>> {
    let shape = &request.shape;
    let mut seats = Seats::new(columns.len(), shape, candidates);
    let mut may_move = request.movement == Movement::Even;
    match &request.previous {
        None => may_move = true,
        Some(previous) => {
            let changed = previous.shape != *shape;
            may_move |= changed;
            let full = (shape.processes() as usize).div_ceil(candidates.len());
            let most = if changed { full } else { usize::MAX };
            for tie in ties(columns, candidates, previous, shape) {
                *steps += 1;
                seats.keep(&tie, most);
            }
        }
    }
    for column in 0..columns.len() {
        seats.fill(column, steps);
    }
    if may_move {
        seats.even_out(steps);
    }
    let node = |seat: &Option<usize>| candidates[seat.expect("every seat is filled")].node;
    let seats = seats.seat.iter();
    seats
        .map(|column| column.iter().map(node).collect())
        .collect()
}

/// What ties columns to nodes, strongest first.
fn ties(
    columns: &[Vec<u32>],
    candidates: &[Candidate],
    previous: &Plan,
    shape: &Shape,
) -> Vec<Tie> {
    let index: BTreeMap<NodeId, usize> = candidates
        .iter()
        .enumerate()
        .map(|(at, candidate)| (candidate.node, at))
        .collect();
    let column_of = columns::column_of_group(previous);
    let mut ties = Vec::new();
    for (column, groups) in columns.iter().enumerate() {
        let mut tasks: BTreeMap<usize, (u32, usize)> = BTreeMap::new();
        for task in groups.iter().flat_map(|group| shape.tasks_of(*group)) {
            let group = (task % previous.shape.threads()) as usize;
            let before = u32::try_from(column_of[group]).expect("columns are counted in u32");
            for worker in previous.column(before) {
                if let Some(node) = index.get(&worker.node) {
                    let set = worker.replica_set.0 as usize;
                    tasks.entry(*node).or_insert((0, set)).0 += 1;
                }
            }
        }
        ties.extend(tasks.into_iter().map(|(node, (tasks, set))| Tie {
            tasks,
            column,
            set,
            node,
        }));
    }
    ties.sort_by_key(|tie| (Reverse(tie.tasks), tie.column, tie.set, tie.node));
    ties
}

impl Seats {
    fn new(columns: usize, shape: &Shape, candidates: &[Candidate]) -> Seats {
        let indexed = candidates.iter().enumerate();
        Seats {
            seat: vec![vec![None; shape.replication() as usize]; columns],
            on: vec![BTreeSet::new(); candidates.len()],
            foreign: candidates.iter().map(|c| c.foreign).collect(),
            by_load: indexed.map(|(at, c)| (0, c.foreign, at)).collect(),
        }
    }

    /// Seats a worker where tasks of its column are, under its old number if that is free.
    fn keep(&mut self, tie: &Tie, most: usize) {
        let seats = &self.seat[tie.column];
        if self.on[tie.node].len() >= most || seats.contains(&Some(tie.node)) {
            return;
        }
        let own = seats.get(tie.set).is_some_and(Option::is_none);
        let any = seats.iter().position(Option::is_none);
        if let Some(set) = if own { Some(tie.set) } else { any } {
            self.sit(tie.column, set, tie.node, true);
        }
    }

    fn fill(&mut self, column: usize, steps: &mut u64) {
        for set in 0..self.seat[column].len() {
            if self.seat[column][set].is_some() {
                continue;
            }
            let taken = &self.seat[column];
            let mut free = self.by_load.iter();
            let free = free.find(|(_, _, node)| !taken.contains(&Some(*node)));
            let (_, _, node) = *free.expect("there are as many nodes as replicas");
            *steps += taken.len() as u64 + 1;
            self.sit(column, set, node, false);
        }
    }

    fn even_out(&mut self, steps: &mut u64) {
        loop {
            let emptiest = *self.by_load.first().expect("there are nodes");
            let fullest = *self.by_load.last().expect("there are nodes");
            if fullest.0 <= emptiest.0 + 1 {
                return;
            }
            let (from, to) = (fullest.2, emptiest.2);
            let lacks = |(_, column): &&(bool, usize)| {
                *steps += 1;
                !self.seat[*column].contains(&Some(to))
            };
            let (stays, column) = *self.on[from]
                .iter()
                .find(lacks)
                .expect("the fuller node has a column that the emptier one lacks");
            let chain = stays.then(|| self.newcomers(from, to, steps)).flatten();
            for (column, from, to) in chain.unwrap_or_else(|| vec![(column, from, to)]) {
                self.shift(column, from, to);
            }
        }
    }

    /// Moves of workers that just came, (column, from, to) each, which together take one worker
    /// from `from` to `to`: found before one that stands would have to move.
    fn newcomers(
        &self,
        from: usize,
        to: usize,
        steps: &mut u64,
    ) -> Option<Vec<(usize, usize, usize)>> {
        let mut reached: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            let new = self.on[node].iter().take_while(|(stays, _)| !stays);
            for (_, column) in new {
                for next in 0..self.on.len() {
                    *steps += 1;
                    let known = next == from || reached.contains_key(&next);
                    if !known && !self.seat[*column].contains(&Some(next)) {
                        reached.insert(next, (*column, node));
                        queue.push_back(next);
                    }
                }
            }
            if reached.contains_key(&to) {
                break;
            }
        }
        let mut chain = Vec::new();
        let mut at = to;
        while at != from {
            let (column, before) = *reached.get(&at)?;
            chain.push((column, before, at));
            at = before;
        }
        Some(chain)
    }

    fn shift(&mut self, column: usize, from: usize, to: usize) {
        let mut seats = self.seat[column].iter();
        let set = seats.position(|seat| *seat == Some(from));
        let set = set.expect("the column has a worker on the node that it leaves");
        self.weigh(from, |on| {
            // A worker that moves once moves for good: it is a newcomer from now on.
            on.remove(&(false, column));
            on.remove(&(true, column));
        });
        self.seat[column][set] = None;
        self.sit(column, set, to, false);
    }

    fn sit(&mut self, column: usize, set: usize, node: usize, stays: bool) {
        self.seat[column][set] = Some(node);
        self.weigh(node, |on| {
            on.insert((stays, column));
        });
    }

    /// Changes what is on a node and keeps the order by load true.
    fn weigh(&mut self, node: usize, change: impl FnOnce(&mut BTreeSet<(bool, usize)>)) {
        let foreign = self.foreign[node];
        self.by_load.remove(&(self.on[node].len(), foreign, node));
        change(&mut self.on[node]);
        self.by_load.insert((self.on[node].len(), foreign, node));
    }
}
