//! A plan: which worker process runs on which node, and which replicas of which task groups it
//! holds.
//!
//! Relies on [`Shape`]. Workers stand in *columns*: the `replication` workers `w`, `workers + w`,
//! `2 * workers + w` … hold the same groups and stand on different nodes. Columns keep moves whole
//! and always possible, and few node combinations can lose all replicas of something. The price:
//! after a loss the leaders of a worker go to the other workers of its column, not to all.
//! What must stay true: `Plan::check`.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, NodeId, ReplicaId, WorkerIndex};
use crate::shape::Shape;

/// One replica of one task group, on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReplica {
    /// Which group.
    pub group: GroupId,
    /// Which replica of it.
    pub replica: ReplicaId,
    /// Leadership balancing aims here; exactly one replica of a group is preferred.
    pub preferred_leader: bool,
}

/// One worker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedWorker {
    /// Its index within the instance.
    pub index: WorkerIndex,
    /// Where it runs.
    pub node: NodeId,
    /// Which replica set it belongs to.
    pub replica_set: ReplicaId,
    /// What it holds, by group.
    pub groups: Vec<GroupReplica>,
}

/// Where everything of an instance goes. Workers are in order of their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The numbers it fulfils.
    pub shape: Shape,
    /// All worker processes.
    pub workers: Vec<PlannedWorker>,
}

impl Plan {
    /// The workers of one column, by replica set.
    pub fn column(&self, column: u32) -> impl Iterator<Item = &PlannedWorker> {
        let workers = self.workers.iter().skip(column as usize);
        workers.step_by(self.shape.workers() as usize)
    }

    /// The nodes that run at least one worker.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.workers.iter().map(|worker| worker.node).collect()
    }

    /// The tasks of each group.
    #[must_use]
    pub fn groups(&self) -> Vec<Vec<u32>> {
        let groups = 0..self.shape.threads();
        groups
            .map(|group| self.shape.tasks_of(group).collect())
            .collect()
    }

    /// How many workers run elsewhere than in `previous`, which has the same shape.
    #[must_use]
    pub fn moved_from(&self, previous: &Plan) -> usize {
        let pairs = self.workers.iter().zip(&previous.workers);
        pairs.filter(|(now, then)| now.node != then.node).count()
    }

    /// Whether this is a plan of its shape: every replica once, replicas of a group on different
    /// nodes, one preferred leader each, columns whole, threads per worker even.
    ///
    /// # Errors
    /// What is wrong, for a plan that was read from records.
    pub fn check(&self) -> Result<(), String> {
        let shape = &self.shape;
        if self.workers.len() != shape.processes() as usize {
            let have = self.workers.len();
            return Err(format!("{have} workers, not {}", shape.processes()));
        }
        for (at, worker) in self.workers.iter().enumerate() {
            let at = u32::try_from(at).expect("a plan has at most TASKS_MAX * replication workers");
            if worker.index.0 != at || worker.replica_set.0 != at / shape.workers() {
                return Err(format!("worker {} stands at {at}", worker.index));
            }
        }
        let mut seen = vec![0; shape.threads() as usize];
        for column in 0..shape.workers() {
            self.check_column(column, &mut seen)?;
        }
        match seen.iter().position(|count| *count != 1) {
            Some(group) => Err(format!("group {group} is in {} columns", seen[group])),
            None => Ok(()),
        }
    }

    fn check_column(&self, column: u32, seen: &mut [u32]) -> Result<(), String> {
        let shape = &self.shape;
        let nodes: BTreeSet<NodeId> = self.column(column).map(|worker| worker.node).collect();
        if nodes.len() != shape.replication() as usize {
            return Err(format!("column {column} has two workers on one node"));
        }
        let first = &self.workers[column as usize].groups;
        let least = shape.threads() / shape.workers();
        let count = u32::try_from(first.len()).unwrap_or(u32::MAX);
        let whole = shape.threads().is_multiple_of(shape.workers());
        if count != least && (count != least + 1 || whole) {
            return Err(format!("worker {column} has {count} groups"));
        }
        for (at, held) in first.iter().enumerate() {
            let slot = seen.get_mut(held.group.0 as usize);
            *slot.ok_or_else(|| format!("there is no group {}", held.group))? += 1;
            let mut preferred = 0;
            for worker in self.column(column) {
                let other = worker.groups.get(at).map(|other| other.group);
                if other != Some(held.group) || worker.groups.len() != first.len() {
                    return Err(format!("column {column} does not hold the same groups"));
                }
                if worker.groups[at].replica != worker.replica_set {
                    return Err(format!("worker {} has a foreign replica", worker.index));
                }
                preferred += u32::from(worker.groups[at].preferred_leader);
            }
            if preferred != 1 {
                let group = held.group;
                return Err(format!("group {group} has {preferred} preferred leaders"));
            }
        }
        Ok(())
    }

    /// The plan as text, one line per worker, with nodes under the names an operator knows.
    /// A `*` marks the preferred leader of a group.
    #[must_use]
    pub fn describe(&self, name: &dyn Fn(NodeId) -> String) -> String {
        let mut out = String::new();
        for worker in &self.workers {
            let index = worker.index;
            let set = worker.replica_set;
            let node = name(worker.node);
            write!(out, "worker {index} of set {set} on {node}:").expect("a string takes all");
            for held in &worker.groups {
                let mark = if held.preferred_leader { "*" } else { "" };
                let tasks: Vec<String> = self
                    .shape
                    .tasks_of(held.group.0)
                    .map(|task| task.to_string())
                    .collect();
                let tasks = tasks.join(" ");
                write!(out, " {}{mark}[{tasks}]", held.group).expect("a string takes all");
            }
            out.push('\n');
        }
        out
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(&|node| node.to_string()))
    }
}
