//! What placement knows of a cluster: its nodes, and how many workers of which module they run.
//!
//! Relies on whoever fills it (the conductor, from supervisors' registrations and from worker
//! assignments). A view is a hint: what is decided on it is written by compare-and-swap.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ModuleName, NodeId};

/// A node as its supervisor registered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// `supervisor.labels`.
    pub labels: BTreeSet<String>,
    /// False after `disallowLeaders`.
    pub leaders_allowed: bool,
    /// It takes no workers, and loses those it has with the next placement of their module.
    pub draining: bool,
    /// Cores it offers; shown to operators.
    pub cores: u32,
}

/// Nodes and what runs where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// The registered nodes.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Worker processes per node and module, those of every assigned instance.
    pub running: BTreeMap<NodeId, BTreeMap<ModuleName, u32>>,
}

impl ClusterView {
    /// Worker processes on `node` that are not of `module`.
    #[must_use]
    pub fn foreign_workers(&self, node: NodeId, module: &ModuleName) -> u32 {
        let Some(modules) = self.running.get(&node) else {
            return 0;
        };
        let others = modules.iter().filter(|(name, _)| *name != module);
        others.map(|(_, count)| count).sum()
    }

    /// Whether any worker of `module` is assigned anywhere.
    #[must_use]
    pub fn runs(&self, module: &ModuleName) -> bool {
        let counts = self.running.values().filter_map(|on| on.get(module));
        counts.sum::<u32>() > 0
    }
}
