//! Why a module cannot be placed. Each error names what there is, what is needed, and the fix.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::ids::ModuleName;

/// Why nodes that exist do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Registered nodes.
    pub registered: usize,
    /// Without the label.
    pub unlabeled: usize,
    /// To be avoided.
    pub avoided: usize,
    /// Draining.
    pub draining: usize,
    /// With workers of other modules; counts under isolation only.
    pub busy: usize,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} registered", self.registered)?;
        let reasons = [
            (self.unlabeled, "without the label"),
            (self.avoided, "to be avoided"),
            (self.draining, "draining"),
            (self.busy, "running other modules"),
        ];
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {reason}")?;
        }
        Ok(())
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Nothing to place on.
    #[error(
        "could not place module {module}: no node can take its workers ({shortage}); start a \
         supervisor, or let one of these nodes take workers"
    )]
    NoNodes {
        /// The module.
        module: ModuleName,
        /// What became of the nodes.
        shortage: Shortage,
    },
    /// Replicas of a group never share a node.
    #[error(
        "could not place module {module} with replication factor {replication}: only {usable} \
         nodes can take its workers ({shortage}) and replicas of a task group never share a node; \
         add nodes or use --replicationFactor {usable}"
    )]
    NodesBelowReplication {
        /// The module.
        module: ModuleName,
        /// Replicas asked.
        replication: u32,
        /// Nodes that can be used.
        usable: usize,
        /// What became of the others.
        shortage: Shortage,
    },
    /// No node has it.
    #[error(
        "could not place module {module}: no node has label {label:?}; known labels: {}; correct \
         the label or set it in supervisor.labels",
        list(known)
    )]
    LabelUnknown {
        /// The module.
        module: ModuleName,
        /// The label asked.
        label: String,
        /// Labels that nodes have.
        known: BTreeSet<String>,
    },
    /// Labels of isolated modules are the operator's.
    #[error(
        "could not place module {module}: --targetLabel {label} is not taken under the isolation \
         scheduler; write {module}=NODES@{label} in scheduler.isolation instead"
    )]
    LabelUnderIsolation {
        /// The module.
        module: ModuleName,
        /// The label asked.
        label: String,
    },
    /// The isolation scheduler takes listed modules only.
    #[error(
        "could not place module {module}: it is not listed in scheduler.isolation of the \
         conductor; add {module}=NODES there and restart the conductor"
    )]
    Unlisted {
        /// The module.
        module: ModuleName,
    },
    /// Dedicated nodes run one module.
    #[error(
        "could not place module {module}: scheduler.isolation gives it {need} nodes{}, but only \
         {free} are free ({shortage}); add or free {} nodes or lower that to {free}",
        label_text(label.as_ref()), need - free
    )]
    NotEnoughFreeNodes {
        /// The module.
        module: ModuleName,
        /// Nodes it is to have.
        need: usize,
        /// Nodes that are free.
        free: usize,
        /// The label they must have.
        label: Option<String>,
        /// What became of the others.
        shortage: Shortage,
    },
    /// Fewer dedicated nodes than replicas.
    #[error(
        "could not place module {module} with replication factor {replication}: \
         scheduler.isolation gives it {nodes} nodes and replicas of a task group never share a \
         node; raise that to {replication} or use --replicationFactor {nodes}"
    )]
    DedicatedBelowReplication {
        /// The module.
        module: ModuleName,
        /// Replicas asked.
        replication: u32,
        /// Nodes it is to have.
        nodes: u32,
    },
    /// A dedicated node without a worker would be lost to everybody.
    #[error(
        "could not place module {module}: scheduler.isolation gives it {nodes} nodes, but its \
         {workers} workers × {replication} replicas are {processes} processes; lower that to \
         {processes} or raise --workers"
    )]
    DedicatedNodesIdle {
        /// The module.
        module: ModuleName,
        /// Nodes it is to have.
        nodes: u32,
        /// Workers asked.
        workers: u32,
        /// Replicas asked.
        replication: u32,
        /// Worker processes in all.
        processes: u32,
    },
    /// The plan that was read from records is none.
    #[error(
        "could not read the placement of module {module}: {what}; destroy and launch it again, or \
         restore the metastore"
    )]
    PreviousDamaged {
        /// The module.
        module: ModuleName,
        /// What is wrong with it.
        what: String,
    },
}

fn list(labels: &BTreeSet<String>) -> String {
    if labels.is_empty() {
        return "none".to_owned();
    }
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    labels.join(", ")
}

fn label_text(label: Option<&String>) -> String {
    label.map_or(String::new(), |label| format!(" with label {label:?}"))
}
