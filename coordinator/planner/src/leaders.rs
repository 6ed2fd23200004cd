//! Who should lead each task group: as even as possible over nodes, then over workers, with as few
//! switches as possible.
//!
//! One flow problem, solved exactly: each group is a unit that runs group → worker → node; the cost
//! of load is convex (so evenness is cheapest), the cost of a switch is 1, and evenness outweighs
//! switches. Starting from what is, negative cycles of the residual graph are cancelled until none
//! is left, which is the optimum. What must stay true: every group is led by a worker that may lead
//! it, and equal inputs give equal answers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

use crate::ids::{GroupId, NodeId, ReplicaId};
use crate::plan::Plan;

/// One leader asked to resign in favor of another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The group.
    pub group: GroupId,
    /// Its leader now.
    pub from: ReplicaId,
    /// Its leader then.
    pub to: ReplicaId,
}

/// What leadership balancing looks at.
#[derive(Clone, Debug)]
pub struct Balance<'a> {
    /// Where the replicas are.
    pub plan: &'a Plan,
    /// Who leads now; groups without a leader are left to election.
    pub leaders: &'a BTreeMap<GroupId, ReplicaId>,
    /// Who may lead: the ISR, where the worker is up.
    pub eligible: &'a BTreeMap<GroupId, BTreeSet<ReplicaId>>,
    /// Nodes that shall not lead where it can be avoided (`disallowLeaders`).
    pub disallowed: &'a BTreeSet<NodeId>,
}

/// The fewest switches that lead to the best balance which is possible.
#[must_use]
pub fn switches(balance: &Balance<'_>) -> Vec<Switch> {
    let plan = balance.plan;
    let nodes: Vec<NodeId> = plan.nodes().into_iter().collect();
    let mut groups = Vec::new();
    let mut problem = Problem::new(plan, &nodes);
    for column in 0..plan.shape.workers() {
        let workers: Vec<usize> = plan.column(column).map(|w| w.index.0 as usize).collect();
        for held in &plan.workers[column as usize].groups {
            let Some(leader) = balance.leaders.get(&held.group) else {
                continue;
            };
            let may = balance.eligible.get(&held.group);
            let able = |r: usize| may.is_some_and(|may| may.iter().any(|m| m.0 as usize == r));
            let mut seats: Vec<usize> = (0..workers.len())
                .filter(|r| able(*r))
                .map(|r| workers[r])
                .collect();
            let allowed = |w: &usize| !balance.disallowed.contains(&plan.workers[*w].node);
            if seats.iter().any(allowed) {
                seats.retain(allowed);
            }
            let now = workers[leader.0 as usize];
            if !seats.is_empty() {
                groups.push((held.group, *leader));
                problem.add(seats, now);
            }
        }
    }
    let leaders = problem.solve(Price::PerSwitch, &mut 0);
    let moved = groups.into_iter().zip(leaders);
    let mut switches: Vec<Switch> = moved
        .map(|((group, from), worker)| Switch {
            group,
            from,
            to: plan.workers[worker].replica_set,
        })
        .filter(|switch| switch.from != switch.to)
        .collect();
    switches.sort_by_key(|switch| switch.group);
    switches
}

/// Marks the preferred leader of every group of `plan`, beginning with those of `previous` where it
/// holds the same groups on the same workers.
pub(crate) fn prefer(
    plan: &mut Plan,
    previous: Option<&Plan>,
    disallowed: &BTreeSet<NodeId>,
    steps: &mut u64,
) {
    let nodes: Vec<NodeId> = plan.nodes().into_iter().collect();
    let mut problem = Problem::new(plan, &nodes);
    let mut order = Vec::new();
    for column in 0..plan.shape.workers() {
        let all: Vec<usize> = plan.column(column).map(|w| w.index.0 as usize).collect();
        let allowed = |w: &usize| !disallowed.contains(&plan.workers[*w].node);
        let mut seats: Vec<usize> = all.iter().copied().filter(allowed).collect();
        if seats.is_empty() {
            seats = all;
        }
        for (at, held) in plan.workers[column as usize].groups.iter().enumerate() {
            let before = previous.and_then(|p| preferred(p, column, at));
            // Round robin, shifted by column, is nearly even to begin with.
            let start = seats[(at + column as usize) % seats.len()];
            problem.add(seats.clone(), before.unwrap_or(start));
            order.push((column, at));
            debug_assert!(held.group.0 < plan.shape.threads());
        }
    }
    let price = match previous {
        Some(_) => Price::PerSwitch,
        None => Price::Free,
    };
    let leaders = problem.solve(price, steps);
    for ((column, at), leader) in order.into_iter().zip(leaders) {
        for set in 0..plan.shape.replication() {
            let worker = (set * plan.shape.workers() + column) as usize;
            plan.workers[worker].groups[at].preferred_leader = worker == leader;
        }
    }
}

fn preferred(plan: &Plan, column: u32, at: usize) -> Option<usize> {
    let preferred = |worker: &&crate::plan::PlannedWorker| {
        let held = worker.groups.get(at);
        held.is_some_and(|held| held.preferred_leader)
    };
    let worker = plan.column(column).find(preferred)?;
    Some(worker.index.0 as usize)
}

/// Whether a switch costs anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Price {
    Free,
    PerSwitch,
}

/// Compared in this order: load of nodes, load of workers, switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost(i64, i64, i64);

impl Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost(self.0 + other.0, self.1 + other.1, self.2 + other.2)
    }
}

#[derive(Clone, Copy)]
struct Arc {
    from: usize,
    to: usize,
    cost: Cost,
    /// The group whose leader moves along it.
    group: Option<usize>,
}

/// Vertices are workers, then nodes, then the sink.
struct Problem {
    node_of: Vec<usize>,
    node_count: usize,
    eligible: Vec<Vec<usize>>,
    at_first: Vec<usize>,
    leader: Vec<usize>,
}

impl Problem {
    fn new(plan: &Plan, nodes: &[NodeId]) -> Problem {
        let at = |worker: &crate::plan::PlannedWorker| {
            let found = nodes.binary_search(&worker.node);
            found.expect("the nodes are those of the plan")
        };
        Problem {
            node_of: plan.workers.iter().map(at).collect(),
            node_count: nodes.len(),
            eligible: Vec::new(),
            at_first: Vec::new(),
            leader: Vec::new(),
        }
    }

    /// A group that `seats` may lead and `now` leads. When `now` may not, it is moved at once.
    fn add(&mut self, seats: Vec<usize>, now: usize) {
        let start = if seats.contains(&now) { now } else { seats[0] };
        self.eligible.push(seats);
        self.at_first.push(now);
        self.leader.push(start);
    }

    fn solve(mut self, price: Price, steps: &mut u64) -> Vec<usize> {
        loop {
            let arcs = self.arcs(price);
            let vertices = self.node_of.len() + self.node_count + 1;
            let Some(cycle) = negative_cycle(vertices, &arcs, steps) else {
                return self.leader;
            };
            for arc in cycle {
                if let Some(group) = arcs[arc].group {
                    self.leader[group] = arcs[arc].to;
                }
            }
        }
    }

    fn arcs(&self, price: Price) -> Vec<Arc> {
        let workers = self.node_of.len();
        let sink = workers + self.node_count;
        let mut worker_load = vec![0i64; workers];
        let mut node_load = vec![0i64; self.node_count];
        let mut arcs = Vec::new();
        for (group, leader) in self.leader.iter().enumerate() {
            worker_load[*leader] += 1;
            node_load[self.node_of[*leader]] += 1;
            let away = i64::from(self.at_first[group] == *leader);
            for seat in self.eligible[group].iter().filter(|seat| *seat != leader) {
                let back = i64::from(self.at_first[group] == *seat);
                let switch = if price == Price::Free { 0 } else { away - back };
                arcs.push(Arc {
                    from: *leader,
                    to: *seat,
                    cost: Cost(0, 0, switch),
                    group: Some(group),
                });
            }
        }
        let mut both_ways = |from, to, load: i64, cost: &dyn Fn(i64) -> Cost| {
            let more = cost(2 * load + 1);
            let less = cost(1 - 2 * load);
            let group = None;
            let arc = |from, to, cost| Arc {
                from,
                to,
                cost,
                group,
            };
            arcs.push(arc(from, to, more));
            if load > 0 {
                arcs.push(arc(to, from, less));
            }
        };
        for (worker, load) in worker_load.iter().enumerate() {
            let node = workers + self.node_of[worker];
            both_ways(worker, node, *load, &|load| Cost(0, load, 0));
        }
        for (node, load) in node_load.iter().enumerate() {
            both_ways(workers + node, sink, *load, &|load| Cost(load, 0, 0));
        }
        arcs
    }
}

/// Bellman and Ford: the arcs of a cycle of negative cost, if there is one.
fn negative_cycle(vertices: usize, arcs: &[Arc], steps: &mut u64) -> Option<Vec<usize>> {
    let mut distance = vec![Cost::default(); vertices];
    let mut entered_by: Vec<Option<usize>> = vec![None; vertices];
    loop {
        let mut relaxed = false;
        for (at, arc) in arcs.iter().enumerate() {
            let through = distance[arc.from] + arc.cost;
            if through < distance[arc.to] {
                distance[arc.to] = through;
                entered_by[arc.to] = Some(at);
                relaxed = true;
            }
        }
        *steps += arcs.len() as u64 + vertices as u64;
        if !relaxed {
            return None;
        }
        if let Some(cycle) = cycle_of(&entered_by, arcs) {
            return Some(cycle);
        }
    }
}

/// A cycle of the graph in which every vertex has at most one arc that enters it.
fn cycle_of(entered_by: &[Option<usize>], arcs: &[Arc]) -> Option<Vec<usize>> {
    let mut mark = vec![usize::MAX; entered_by.len()];
    for start in 0..entered_by.len() {
        let mut at = start;
        while mark[at] == usize::MAX {
            mark[at] = start;
            match entered_by[at] {
                Some(arc) => at = arcs[arc].from,
                None => break,
            }
        }
        if mark[at] != start || entered_by[at].is_none() {
            continue;
        }
        // `at` was met twice in this walk, so it stands on a cycle.
        let mut cycle = Vec::new();
        let mut walk = at;
        loop {
            let arc = entered_by[walk]?;
            cycle.push(arc);
            walk = arcs[arc].from;
            if walk == at {
                return Some(cycle);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
