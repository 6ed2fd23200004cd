//! A topology as people see it: every builder call with its kind, name and place in the source.
//!
//! Relies on the builder to record nodes in order. Nothing runs by it: it is drawn by the UI,
//! printed by `describe`, and telemetry is keyed by its nodes. What must stay true: node ids are
//! dense and follow the order of builder calls, so they are the same in every worker.

use std::fmt;
use std::panic::Location;

use serde::Serialize;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Records of a depot enter.
    Source,
    /// One value becomes one value.
    Map,
    /// One value becomes any number.
    FlatMap,
    /// One value becomes any number, handed out by the author's code.
    Emit,
    /// A value stays or goes.
    Filter,
    /// A value becomes another or goes.
    FilterMap,
    /// A value is looked at.
    Inspect,
    /// A value is given to the appender of the record.
    AckReturn,
    /// To the home of a key.
    HashPartition,
    /// To every task.
    AllPartition,
    /// To task 0.
    GlobalPartition,
    /// To the tasks in turn.
    ShufflePartition,
    /// To a task by its index.
    DirectPartition,
    /// To a task chosen by the author's code.
    CustomPartition,
    /// To the same task.
    YieldIfOvertime,
    /// To the home of a key of one PState.
    PathPartition,
    /// To the task where the query began.
    OriginPartition,
    /// Two chains continue with the same values.
    Branch,
    /// Values of two chains continue in one.
    Merge,
    /// Values go round until the author's code lets them out.
    Iterate,
    /// Values that have a key in common.
    GroupBy,
    /// Many values become one.
    Agg,
    /// Many values change what is stored.
    AggInto,
    /// Values wait until all of them are there.
    Materialize,
    /// Values of two chains that have a key in common.
    Join,
    /// A value becomes what a future comes to.
    MapAsync,
    /// A handler runs for each value, which ends here.
    EachAsync,
    /// A handler runs for each value, which becomes what it answers.
    ThenAsync,
    /// Code that handlers call.
    Step,
    /// A query runs for each value.
    Query,
    /// A record is appended for each value.
    Append,
    /// A PState of another module is read for each value.
    Select,
    /// Values end here.
    Each,
    /// The answer of a query.
    Answer,
}

impl NodeKind {
    /// The name of the builder's method.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeKind::Source => "source",
            NodeKind::Map => "map",
            NodeKind::FlatMap => "flat_map",
            NodeKind::Emit => "emit",
            NodeKind::Filter => "filter",
            NodeKind::FilterMap => "filter_map",
            NodeKind::Inspect => "inspect",
            NodeKind::AckReturn => "ack_return",
            NodeKind::HashPartition => "hash_partition",
            NodeKind::AllPartition => "all_partition",
            NodeKind::GlobalPartition => "global_partition",
            NodeKind::ShufflePartition => "shuffle_partition",
            NodeKind::DirectPartition => "direct_partition",
            NodeKind::CustomPartition => "custom_partition",
            NodeKind::YieldIfOvertime => "yield_if_overtime",
            NodeKind::PathPartition => "path_partition",
            NodeKind::OriginPartition => "origin_partition",
            NodeKind::Branch => "branch",
            NodeKind::Merge => "merge",
            NodeKind::Iterate => "iterate",
            NodeKind::GroupBy => "group_by",
            NodeKind::Agg => "agg",
            NodeKind::AggInto => "agg_into",
            NodeKind::Materialize => "materialize",
            NodeKind::Join => "join",
            NodeKind::MapAsync => "map_async",
            NodeKind::EachAsync => "each_async",
            NodeKind::ThenAsync => "then_async",
            NodeKind::Step => "step",
            NodeKind::Query => "query",
            NodeKind::Append => "append",
            NodeKind::Select => "select",
            NodeKind::Each => "each",
            NodeKind::Answer => "answer",
        }
    }

    /// Whether what follows may run on another task, as an event of its own.
    pub fn is_boundary(self) -> bool {
        matches!(
            self,
            NodeKind::HashPartition
                | NodeKind::AllPartition
                | NodeKind::GlobalPartition
                | NodeKind::ShufflePartition
                | NodeKind::DirectPartition
                | NodeKind::CustomPartition
                | NodeKind::YieldIfOvertime
                | NodeKind::PathPartition
                | NodeKind::OriginPartition
                | NodeKind::GroupBy
                | NodeKind::Join
                | NodeKind::Iterate
                | NodeKind::MapAsync
                | NodeKind::EachAsync
                | NodeKind::ThenAsync
                | NodeKind::Query
                | NodeKind::Append
                | NodeKind::Select
        )
    }
}

/// A place in the author's source code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// File, as the compiler was given it.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Place {
    /// The place of the caller of a `#[track_caller]` function.
    #[track_caller]
    pub fn of_caller() -> Place {
        let at = Location::caller();
        Place {
            file: at.file(),
            line: at.line(),
            column: at.column(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Which fused piece of code a node is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The source with this place in the topology's sources.
    Source(u16),
    /// The stage with this place in the topology's stages.
    Stage(u16),
    /// Where the arguments of a query enter.
    Query,
    /// Code that other units run in their event, by its place.
    Joint(u16),
}

/// One builder call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its place in the graph.
    pub id: u32,
    /// What it does.
    pub kind: NodeKind,
    /// What the author calls it; a source has its depot's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Rust type of what it passes on.
    pub emits: &'static str,
    /// Where its code runs.
    pub unit: Unit,
    /// The builder call.
    pub place: Place,
    /// The node it gets its values from; none for a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
}

/// All nodes of one topology.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// The nodes, in the order of the builder calls.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn add(&mut self, node: impl FnOnce(u32) -> Node) -> u32 {
        let id = self.nodes.len() as u32;
        self.nodes.push(node(id));
        id
    }

    pub(crate) fn rename(&mut self, id: u32, name: String) {
        self.nodes[id as usize].name = Some(name);
    }
}

impl fmt::Display for Graph {
    /// One line per node; a boundary is marked by an arrow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let indent = match node.kind {
                NodeKind::Source => "",
                kind if kind.is_boundary() => "  ~> ",
                _ => "     ",
            };
            write!(f, "{indent}{}", node.kind.as_str())?;
            if let Some(name) = &node.name {
                write!(f, " {name}")?;
            }
            writeln!(f, "  ({})", node.place)?;
        }
        Ok(())
    }
}
