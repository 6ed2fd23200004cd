//! Placement: which nodes, which worker where, which groups on which worker (spec operations §3.1
//! to §3.3).
//!
//! Relies on a [`ClusterView`], which is a hint: the plan becomes valid with the compare-and-swap
//! that writes it. Steps, one file each: `nodes` chooses the nodes (scheduler, labels, avoided
//! nodes; `reserve` keeps other listed modules schedulable), `columns` spreads groups over columns
//! of workers, `seats` gives every worker of a column a node, [`crate::leaders`] prefers leaders.
//!
//! What must stay true: equal inputs give equal plans; replicas of a group never share a node;
//! tasks per thread, threads per worker and workers per node differ by one at most (the last one
//! unless `Movement::Keep` forbids moving what runs); nothing moves without one of these reasons.

mod columns;
mod error;
mod nodes;
mod reserve;
mod seats;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use error::{PlanError, Shortage};

use crate::cluster::ClusterView;
use crate::ids::{GroupId, ModuleName, NodeId, ReplicaId, WorkerIndex};
use crate::leaders;
use crate::plan::{GroupReplica, Plan, PlannedWorker};
use crate::shape::Shape;

/// `[scheduler]` of the conductor's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// All nodes, empty ones first; modules share nodes.
    Dev,
    /// Each listed module has its own number of nodes for itself; others are refused.
    Isolation(BTreeMap<ModuleName, Dedicated>),
}

/// What the isolation scheduler gives one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedicated {
    /// Exactly so many nodes.
    pub nodes: u32,
    /// `target_label`: only nodes with this label.
    pub label: Option<String>,
}

/// Whether workers that could stay may move for the sake of evenness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// Only what must move moves: an update, or the loss of a node.
    Keep,
    /// The fewest moves that make workers per node even: a scaling, also without new numbers.
    Even,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The module.
    pub module: ModuleName,
    /// Its numbers.
    pub shape: Shape,
    /// `--targetLabel`.
    pub label: Option<String>,
    /// Who chooses nodes.
    pub scheduler: Scheduler,
    /// What runs now.
    pub previous: Option<Plan>,
    /// How much of it may move.
    pub movement: Movement,
    /// `--reassignSupervisors`: nodes that take nothing and keep nothing.
    pub avoid: BTreeSet<NodeId>,
}

/// A node that takes workers of this plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    node: NodeId,
    /// Worker processes of other modules on it.
    foreign: u32,
}

/// Plans an instance.
///
/// # Errors
/// When the nodes do not suffice; each error says what there is, what is needed and what to change.
pub fn place(cluster: &ClusterView, request: &Request) -> Result<Plan, PlanError> {
    place_counted(cluster, request, &mut 0)
}

/// Like [`place`]; counts elementary steps, so that a test can bound them without a clock.
pub(crate) fn place_counted(
    cluster: &ClusterView,
    request: &Request,
    steps: &mut u64,
) -> Result<Plan, PlanError> {
    if let Some(previous) = &request.previous {
        let check = previous.check();
        check.map_err(|what| PlanError::PreviousDamaged {
            module: request.module.clone(),
            what,
        })?;
    }
    let candidates = nodes::choose(cluster, request)?;
    let columns = columns::spread(&request.shape, request.previous.as_ref());
    let seats = seats::assign(&columns, &candidates, request, steps);
    let mut plan = assemble(&request.shape, &columns, &seats);
    let disallowed = cluster
        .nodes
        .iter()
        .filter(|(_, info)| !info.leaders_allowed)
        .map(|(node, _)| *node)
        .collect();
    let same = request.previous.as_ref().filter(|p| p.shape == plan.shape);
    leaders::prefer(&mut plan, same, &disallowed, steps);
    if let Err(what) = plan.check() {
        panic!("a plan that was just made breaks its own rules: {what}");
    }
    Ok(plan)
}

fn assemble(shape: &Shape, columns: &[Vec<u32>], seats: &[Vec<NodeId>]) -> Plan {
    let mut workers = Vec::with_capacity(shape.processes() as usize);
    for set in 0..shape.replication() {
        for column in 0..shape.workers() {
            let held = columns[column as usize].iter().map(|group| GroupReplica {
                group: GroupId(*group),
                replica: ReplicaId(set),
                preferred_leader: false,
            });
            workers.push(PlannedWorker {
                index: WorkerIndex(set * shape.workers() + column),
                node: seats[column as usize][set as usize],
                replica_set: ReplicaId(set),
                groups: held.collect(),
            });
        }
    }
    Plan {
        shape: *shape,
        workers,
    }
}
