//! What a module's `define` produced, checked: everything an engine needs to run it.
//!
//! Relies on `setup` to fill it in. What must stay true: a `Definition` exists only if no mistake
//! was found, so who runs one checks nothing again; and the same code gives the same definition, in
//! the same order, in every worker. Ids here are provisional, dense from 1 in the order of mention;
//! an engine whose catalog pinned others translates (0 is the system's).

pub mod fault;
mod interface;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rama_core::options::Settings;
use rama_core::policy::FailurePolicy;
use rama_core::stream::RetryMode;
use rama_wire::{LogId, SpaceId};

use crate::depot_def::{Placement, PlacementError, RecordDesc};
use crate::external::ExternalDef;
use crate::gather::GatherDef;
use crate::graph::{Graph, Place};
use crate::migration::{MigrationDef, RecordMigrationDef};
use crate::mirror::{CopyDef, MirrorDef};
use crate::module::Module;
use crate::plan::Functions;
use crate::query_def::QueryDef;
use crate::schema_desc::SchemaDesc;
use crate::setup::Setup;
use crate::stage::{SourceStage, Stage};
use crate::task_global::GlobalDef;
use crate::topology_def::{AckAggregate, Start, TopologyKind};

pub use fault::{DefinitionError, Fault};

/// A module, ready to run.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name of the module.
    pub module: String,
    /// Depots in the order of declaration, then those of the engine.
    pub depots: Vec<DepotDef>,
    /// PStates in the order of declaration.
    pub pstates: Vec<PStateDef>,
    /// Topologies in the order of declaration.
    pub topologies: Vec<TopologyDef>,
    /// Values beside the tasks, in the order of declaration.
    pub globals: Vec<GlobalDef>,
    /// Options that its code sets (spec O-15).
    pub options: Settings,
    /// What clients may call by name in what they select (spec P-34).
    pub functions: Functions,
    /// Depots that take their records from outside.
    pub externals: Vec<ExternalDef>,
    /// Query topologies in the order of declaration.
    pub queries: Vec<QueryDef>,
    /// Objects of other modules that it uses.
    pub mirrors: Vec<MirrorDef>,
    /// What its topologies keep of mirror depots.
    pub copies: Vec<CopyDef>,
}

impl Definition {
    /// Calls the module's `define` and checks what it declared.
    ///
    /// # Errors
    /// Every mistake found, each with its place in the source and the fix.
    pub fn of(module: &dyn Module) -> Result<Definition, DefinitionError> {
        let mut setup = Setup::new(module.name());
        module.define(&mut setup);
        setup.finish()
    }

    /// The depots that the author declared: those of the engine left out.
    pub fn declared_depots(&self) -> impl Iterator<Item = &DepotDef> {
        let depots = self.depots.iter();
        depots.filter(|depot| !matches!(depot.kind, DepotKind::DeadLetters | DepotKind::Mirror))
    }

    /// The depot called `name`.
    pub fn depot(&self, name: &str) -> Option<&DepotDef> {
        self.depots.iter().find(|depot| depot.name == name)
    }

    /// The PState called `name`.
    pub fn pstate(&self, name: &str) -> Option<&PStateDef> {
        self.pstates.iter().find(|pstate| pstate.name == name)
    }

    /// The query called `name`.
    pub fn query(&self, name: &str) -> Option<&QueryDef> {
        self.queries.iter().find(|query| query.name == name)
    }

    /// The topology called `name`.
    pub fn topology(&self, name: &str) -> Option<&TopologyDef> {
        self.topologies
            .iter()
            .find(|topology| topology.name == name)
    }
}

/// What kind of depot it is. Fixed for the life of the depot (spec D-46).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepotKind {
    /// One partition per task.
    Partitioned,
    /// One partition, on task 0 (spec D-6).
    Global,
    /// No records of its own: emits `()` on task 0 (spec D-8, D-9).
    Tick {
        /// Milliseconds between ticks.
        every_ms: u64,
    },
    /// The engine's own: records that a source of a topology gave up on.
    DeadLetters,
    /// The engine's own: a topology's copy of a depot of another module.
    Mirror,
}

impl DepotKind {
    /// `depot`, `global depot`, `tick depot` or `dead-letter depot`.
    pub fn as_str(self) -> &'static str {
        match self {
            DepotKind::Partitioned => "depot",
            DepotKind::Global => "global depot",
            DepotKind::Tick { .. } => "tick depot",
            DepotKind::DeadLetters => "dead-letter depot",
            DepotKind::Mirror => "mirror depot",
        }
    }

    /// The time between ticks, for tick depots.
    pub fn tick(self) -> Option<Duration> {
        match self {
            DepotKind::Tick { every_ms } => Some(Duration::from_millis(every_ms)),
            DepotKind::Partitioned
            | DepotKind::Global
            | DepotKind::DeadLetters
            | DepotKind::Mirror => None,
        }
    }
}

/// A declared depot.
#[derive(Clone, Debug)]
pub struct DepotDef {
    /// Its name, with `*`.
    pub name: String,
    /// Its provisional id.
    pub log: LogId,
    /// Partitioned, global or tick.
    pub kind: DepotKind,
    /// Where a client's append goes. Irrelevant for global depots, except that it may disallow.
    pub placement: Placement,
    /// Its record type.
    pub record: RecordDesc,
    /// Changes of its stored records, in the order in which they pass them.
    pub migrations: Vec<RecordMigrationDef>,
    /// Where it is declared.
    pub place: Place,
}

impl DepotDef {
    /// How many partitions it has on a module of `tasks` tasks.
    pub fn partitions(&self, tasks: u32) -> u32 {
        match self.kind {
            DepotKind::Partitioned | DepotKind::DeadLetters | DepotKind::Mirror => tasks,
            DepotKind::Global | DepotKind::Tick { .. } => 1,
        }
    }
}

/// Maps an encoded top-level key and a number of tasks to the task that holds it.
pub type KeyPlacement = Arc<dyn Fn(&[u8], u32) -> Result<u32, PlacementError> + Send + Sync>;

/// A declared PState.
#[derive(Clone)]
pub struct PStateDef {
    /// Its name, with `$$`.
    pub name: String,
    /// Its provisional id.
    pub space: SpaceId,
    /// Its shape.
    pub schema: SchemaDesc,
    /// The topology that declares it, and alone may write it (spec P-1).
    pub owner: String,
    /// One partition on task 0 instead of one per task.
    pub global: bool,
    /// Clients and other modules may not read it.
    pub private: bool,
    /// What the only entry of every new partition (under the empty key) holds, if not nothing.
    pub initial: Option<Vec<u8>>,
    /// Where a top-level key lives, if not by the hash.
    pub key_placement: Option<KeyPlacement>,
    /// Changes of its stored values, in the order in which they pass them.
    pub migrations: Vec<MigrationDef>,
    /// Where it is declared.
    pub place: Place,
}

impl PStateDef {
    /// The task that holds an encoded top-level key, on a module of `tasks` tasks.
    ///
    /// # Errors
    /// When the author's key partitioner does not understand the key or answers out of range.
    pub fn home(&self, key: &[u8], tasks: u32) -> Result<u32, PlacementError> {
        match &self.key_placement {
            _ if self.global => Ok(0),
            Some(place) => place(key, tasks),
            None => Ok(rama_wire::hash::task_of(key, tasks)),
        }
    }
}

impl fmt::Debug for PStateDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PStateDef")
            .field("name", &self.name)
            .field("space", &self.space)
            .field("schema", &self.schema.name())
            .field("owner", &self.owner)
            .field("global", &self.global)
            .field("private", &self.private)
            .finish_non_exhaustive()
    }
}

/// A declared topology.
#[derive(Clone)]
pub struct TopologyDef {
    /// Its name.
    pub name: String,
    /// Its provisional id.
    pub slot: u16,
    /// Stream or microbatch.
    pub kind: TopologyKind,
    /// What it consumes, in the order of declaration.
    pub sources: Vec<SourceDef>,
    /// Its code behind partitioners, by [`crate::stage::StageIndex`].
    pub stages: Vec<Arc<dyn Stage>>,
    /// What its code gathers on the way.
    pub gathers: Vec<GatherDef>,
    /// The same for people.
    pub graph: Graph,
    /// Where it is declared.
    pub place: Place,
}

impl fmt::Debug for TopologyDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopologyDef")
            .field("name", &self.name)
            .field("slot", &self.slot)
            .field("kind", &self.kind)
            .field("sources", &self.sources)
            .field("stages", &self.stages.len())
            .finish_non_exhaustive()
    }
}

/// A depot that a topology consumes.
#[derive(Clone)]
pub struct SourceDef {
    /// Name of the depot; of a mirror `*module/depot`; behind both `//id` where the source has an id.
    pub depot: String,
    /// Whether it has an id of its own.
    pub named: bool,
    /// Provisional id of the depot; of a mirror that of the topology's copy.
    pub log: LogId,
    /// Where it starts when it is new.
    pub start: Start,
    /// What a stream does with failed records.
    pub retry: RetryMode,
    /// How often and how late to retry, and then.
    pub policy: FailurePolicy,
    /// Combines ack returns; the last one counts without it.
    pub ack_aggregate: Option<AckAggregate>,
    /// The code up to the first boundary.
    pub stage: Arc<dyn SourceStage>,
    /// Where it is declared.
    pub place: Place,
}

impl fmt::Debug for SourceDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceDef")
            .field("depot", &self.depot)
            .field("start", &self.start)
            .field("retry", &self.retry)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
