//! Which nodes a module may use: labels, avoided and draining nodes, and the two schedulers.
//!
//! Relies on the rules of spec operations §3.2 and §3.3. The dev scheduler takes empty nodes first
//! and shares the rest; the isolation scheduler takes exactly as many free nodes as are listed, and
//! chooses so that other listed modules can still come. Both prefer nodes that the module has.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::reserve::{self, Demand};
use super::{Candidate, Dedicated, PlanError, Request, Scheduler, Shortage};
use crate::cluster::{ClusterView, NodeInfo};
use crate::ids::{ModuleName, NodeId};

/// The nodes of the plan, by id.
pub(super) fn choose(
    cluster: &ClusterView,
    request: &Request,
) -> Result<Vec<Candidate>, PlanError> {
    let mut chosen = match &request.scheduler {
        Scheduler::Dev => share(cluster, request)?,
        Scheduler::Isolation(modules) => dedicate(cluster, request, modules)?,
    };
    chosen.sort_by_key(|candidate| candidate.node);
    Ok(chosen)
}

fn share(cluster: &ClusterView, request: &Request) -> Result<Vec<Candidate>, PlanError> {
    let label = request.label.as_deref();
    let (mut usable, shortage) = usable(cluster, request, label)?;
    let replication = request.shape.replication();
    let module = request.module.clone();
    if usable.is_empty() {
        return Err(PlanError::NoNodes { module, shortage });
    }
    if usable.len() < replication as usize {
        return Err(PlanError::NodesBelowReplication {
            module,
            replication,
            usable: usable.len(),
            shortage,
        });
    }
    let has = workers_before(request);
    usable.sort_by_key(|c| (Reverse(has.contains_key(&c.node)), c.foreign, c.node));
    usable.truncate(request.shape.processes() as usize);
    Ok(usable)
}

fn dedicate(
    cluster: &ClusterView,
    request: &Request,
    modules: &BTreeMap<ModuleName, Dedicated>,
) -> Result<Vec<Candidate>, PlanError> {
    let module = request.module.clone();
    if let Some(label) = request.label.clone() {
        return Err(PlanError::LabelUnderIsolation { module, label });
    }
    let Some(dedicated) = modules.get(&module) else {
        return Err(PlanError::Unlisted { module });
    };
    check_numbers(request, dedicated)?;
    let (usable, mut shortage) = usable(cluster, request, dedicated.label.as_deref())?;
    let before = usable.len();
    let mut free: Vec<Candidate> = usable.into_iter().filter(|c| c.foreign == 0).collect();
    shortage.busy = before - free.len();
    let need = dedicated.nodes as usize;
    if free.len() < need {
        return Err(PlanError::NotEnoughFreeNodes {
            module,
            need,
            free: free.len(),
            label: dedicated.label.clone(),
            shortage,
        });
    }
    let has = workers_before(request);
    let count = |c: &Candidate| has.get(&c.node).copied().unwrap_or(0);
    free.sort_by_key(|c| (Reverse(count(c)), c.node));
    let kept = free.iter().filter(|c| count(c) > 0).count().min(need);
    let mut chosen: Vec<Candidate> = free.drain(..kept).collect();
    let missing = need - chosen.len();
    chosen.extend(reserved(cluster, request, modules, missing, &free, &chosen));
    Ok(chosen)
}

fn check_numbers(request: &Request, dedicated: &Dedicated) -> Result<(), PlanError> {
    let shape = &request.shape;
    let module = request.module.clone();
    let nodes = dedicated.nodes;
    if nodes < shape.replication() {
        return Err(PlanError::DedicatedBelowReplication {
            module,
            replication: shape.replication(),
            nodes,
        });
    }
    if nodes > shape.processes() {
        return Err(PlanError::DedicatedNodesIdle {
            module,
            nodes,
            workers: shape.workers(),
            replication: shape.replication(),
            processes: shape.processes(),
        });
    }
    Ok(())
}

/// `missing` of `free`, leaving as many listed modules schedulable as is possible.
fn reserved(
    cluster: &ClusterView,
    request: &Request,
    modules: &BTreeMap<ModuleName, Dedicated>,
    missing: usize,
    free: &[Candidate],
    chosen: &[Candidate],
) -> Vec<Candidate> {
    let waiting =
        |(name, _): &(&ModuleName, &Dedicated)| **name != request.module && !cluster.runs(name);
    let demand = |dedicated: &Dedicated| Demand {
        label: dedicated.label.clone(),
        nodes: dedicated.nodes as usize,
    };
    let others: Vec<Demand> = modules
        .iter()
        .filter(waiting)
        .map(|(_, dedicated)| demand(dedicated))
        .collect();
    let taken: BTreeSet<NodeId> = chosen.iter().map(|c| c.node).collect();
    // Others may also use what this module may not: their nodes count for what remains to them.
    let mut classes: BTreeMap<(bool, &BTreeSet<String>), Vec<NodeId>> = BTreeMap::new();
    for (node, info) in &cluster.nodes {
        let mine = free.iter().any(|c| c.node == *node);
        let idle = cluster.running.get(node).is_none_or(BTreeMap::is_empty);
        if !taken.contains(node) && (mine || (idle && !info.draining)) {
            let class = classes.entry((mine, &info.labels)).or_default();
            class.push(*node);
        }
    }
    let supply: Vec<reserve::Class<'_>> = classes
        .iter()
        .map(|((mine, labels), nodes)| reserve::Class {
            mine: *mine,
            labels,
            nodes: nodes.len(),
        })
        .collect();
    let portions = reserve::portions(&supply, missing, &others);
    let picked: BTreeSet<NodeId> = classes
        .values()
        .zip(portions)
        .flat_map(|(nodes, count)| nodes.iter().copied().take(count))
        .collect();
    free.iter()
        .filter(|c| picked.contains(&c.node))
        .copied()
        .collect()
}

/// Nodes that may take workers of this module, whatever else runs there.
fn usable(
    cluster: &ClusterView,
    request: &Request,
    label: Option<&str>,
) -> Result<(Vec<Candidate>, Shortage), PlanError> {
    let has = |info: &NodeInfo| label.is_none_or(|label| info.labels.contains(label));
    if let Some(label) = label.filter(|_| !cluster.nodes.values().any(has)) {
        let labels = cluster.nodes.values().flat_map(|info| &info.labels);
        return Err(PlanError::LabelUnknown {
            module: request.module.clone(),
            label: label.to_owned(),
            known: labels.cloned().collect(),
        });
    }
    let mut shortage = Shortage {
        registered: cluster.nodes.len(),
        ..Shortage::default()
    };
    let mut usable = Vec::new();
    for (node, info) in &cluster.nodes {
        if !has(info) {
            shortage.unlabeled += 1;
        } else if request.avoid.contains(node) {
            shortage.avoided += 1;
        } else if info.draining {
            shortage.draining += 1;
        } else {
            usable.push(Candidate {
                node: *node,
                foreign: cluster.foreign_workers(*node, &request.module),
            });
        }
    }
    Ok((usable, shortage))
}

fn workers_before(request: &Request) -> BTreeMap<NodeId, u32> {
    let mut has = BTreeMap::new();
    for worker in request.previous.iter().flat_map(|plan| &plan.workers) {
        *has.entry(worker.node).or_insert(0) += 1;
    }
    has
}
