//! Objects of other modules, as a module names and uses them (spec §10).
//!
//! Relies on the cluster's handle to reach other modules and on `external` for mirror depots. Nothing
//! of a mirror is written here but one thing: each topology that consumes a mirror depot has a copy
//! of it, which goes as it is processed. What must stay true: an object is found by its names at each
//! use, so that the other module may be updated; its types are compared before anything is read.

mod check;
mod copy;
mod follow;
mod foreign;
mod serve;
mod waiting;

use std::fmt;

use rama_wire::{LogId, Record};

use crate::definition::{DepotDef, DepotKind};
use crate::depot_def::{Depot, Partition, RecordDesc};
use crate::graph::Place;
use crate::pstate::PState;
use crate::query_def::Query;
use crate::schema::Root;
use crate::schema_desc::SchemaDesc;
use crate::topology_def::Start;

pub(crate) use check::{check, check_dependents, dependents};
pub(crate) use copy::{release, source};
pub(crate) use foreign::definition;
pub(crate) use serve::{Pulled, Pulls, Request, held, serve};

/// A depot of another module: comes from [`Mirrors::depot`](crate::setup::Mirrors::depot).
pub struct MirrorDepot<T> {
    pub(crate) module: &'static str,
    pub(crate) depot: Depot<T>,
}

/// A PState of another module: comes from [`Mirrors::pstate`](crate::setup::Mirrors::pstate). It is
/// read, by paths of its constant; there is nothing to write it with (spec X-2).
pub struct MirrorPState<S: Root> {
    pub(crate) module: &'static str,
    pub(crate) pstate: PState<S>,
}

/// A query of another module: comes from [`Mirrors::query`](crate::setup::Mirrors::query).
pub struct MirrorQuery<A, R> {
    pub(crate) module: &'static str,
    pub(crate) query: Query<A, R>,
}

impl<T> Clone for MirrorDepot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for MirrorDepot<T> {}

impl<S: Root> Clone for MirrorPState<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Root> Copy for MirrorPState<S> {}

impl<A, R> Clone for MirrorQuery<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, R> Copy for MirrorQuery<A, R> {}

impl<T> fmt::Debug for MirrorDepot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.depot, self.module)
    }
}

/// A depot that a topology may consume: one of its module, or a mirror (spec X-3).
pub trait SourceDepot: Copy {
    /// What it holds.
    type Record: Record + Send;

    /// Its name and type.
    #[doc(hidden)]
    fn depot(self) -> Depot<Self::Record>;

    /// The module that has it, if not the topology's own.
    #[doc(hidden)]
    fn module(self) -> Option<&'static str>;
}

impl<T: Record + Send> SourceDepot for Depot<T> {
    type Record = T;

    fn depot(self) -> Depot<T> {
        self
    }

    fn module(self) -> Option<&'static str> {
        None
    }
}

impl<T: Record + Send> SourceDepot for MirrorDepot<T> {
    type Record = T;

    fn depot(self) -> Depot<T> {
        self.depot
    }

    fn module(self) -> Option<&'static str> {
        Some(self.module)
    }
}

/// An object that has partitions in another module, for the steps that choose one of them (spec
/// a mirror depot or a mirror PState.
pub trait Partitioned: Copy + Send + Sync + 'static {
    /// The module that has it.
    #[doc(hidden)]
    fn module(self) -> &'static str;

    /// Its name.
    #[doc(hidden)]
    fn name(self) -> &'static str;
}

impl<T: 'static> Partitioned for MirrorDepot<T> {
    fn module(self) -> &'static str {
        self.module
    }

    fn name(self) -> &'static str {
        self.depot.name()
    }
}

impl<S: Root> Partitioned for MirrorPState<S> {
    fn module(self) -> &'static str {
        self.module
    }

    fn name(self) -> &'static str {
        self.pstate.name()
    }
}

/// An object of another module that a module declares to use.
#[derive(Clone, Debug)]
pub struct MirrorDef {
    /// The module that has it.
    pub module: String,
    /// What the other module must declare.
    pub object: Mirrored,
    /// Where it is declared.
    pub place: Place,
}

/// What another module must declare for a mirror of it.
#[derive(Clone, Debug)]
pub enum Mirrored {
    /// A depot with such records.
    Depot {
        /// Its name there.
        name: String,
        /// Its records.
        record: RecordDesc,
    },
    /// A PState of such a schema that is not private (spec X-8).
    PState {
        /// Its name there.
        name: String,
        /// Its schema.
        schema: SchemaDesc,
    },
    /// A query of such types.
    Query {
        /// Its name there.
        name: String,
        /// Its arguments.
        args: RecordDesc,
        /// Its result.
        result: RecordDesc,
    },
}

impl Mirrored {
    /// `depot`, `PState` or `query`.
    pub fn kind(&self) -> &'static str {
        match self {
            Mirrored::Depot { .. } => "depot",
            Mirrored::PState { .. } => "PState",
            Mirrored::Query { .. } => "query",
        }
    }

    /// Its name in the other module.
    pub fn name(&self) -> &str {
        match self {
            Mirrored::Depot { name, .. }
            | Mirrored::PState { name, .. }
            | Mirrored::Query { name, .. } => name,
        }
    }

    /// Its types, in the order in which they are compared.
    pub fn fingerprints(&self) -> Vec<u64> {
        match self {
            Mirrored::Depot { record, .. } => vec![record.fingerprint],
            Mirrored::PState { schema, .. } => vec![schema.fingerprint()],
            Mirrored::Query { args, result, .. } => vec![args.fingerprint, result.fingerprint],
        }
    }

    /// The same for people.
    pub fn types(&self) -> String {
        match self {
            Mirrored::Depot { record, .. } => record.type_name.clone(),
            Mirrored::PState { schema, .. } => schema.name(),
            Mirrored::Query { args, result, .. } => {
                format!("{} -> {}", args.type_name, result.type_name)
            }
        }
    }
}

/// The copy of a mirror depot that one topology consumes.
#[derive(Clone, Debug)]
pub struct CopyDef {
    /// Provisional id of the copy.
    pub log: LogId,
    /// The module that has the depot.
    pub module: String,
    /// The depot's name there.
    pub depot: String,
    /// The topology here.
    pub topology: String,
    /// The id of its source, if it has one of its own.
    pub id: Option<String>,
    /// Where the topology begins in the other module's depot, when it is new.
    pub start: Start,
    /// Fingerprint of its records.
    pub record: u64,
}

impl CopyDef {
    /// Whether both are the copy of one source of a topology of one depot.
    pub(crate) fn is_same(&self, other: &CopyDef) -> bool {
        let of = |copy: &CopyDef| {
            (
                copy.topology.clone(),
                copy.module.clone(),
                copy.depot.clone(),
                copy.id.clone(),
            )
        };
        of(self) == of(other)
    }
}

/// What a mirror depot is called here: names of modules and depots have no slash.
pub(crate) fn source_name(module: &str, depot: &str) -> String {
    format!("*{module}/{}", depot.strip_prefix('*').unwrap_or(depot))
}

/// The name of a copy of a mirror depot: that of a topology, for the source with this id.
pub(crate) fn copy_name(topology: &str, module: &str, depot: &str, id: Option<&str>) -> String {
    let depot = depot.strip_prefix('*').unwrap_or(depot);
    let name = format!("*__mirrors/{topology}/{module}/{depot}");
    match id {
        None => name,
        Some(id) => format!("{name}//{id}"),
    }
}

/// A topology's copy of a mirror depot, as a depot of its module. Only the engine appends.
pub(crate) fn copy_depot(copy: &CopyDef, record: RecordDesc, place: Place) -> DepotDef {
    DepotDef {
        migrations: Vec::new(),
        name: copy_name(
            &copy.topology,
            &copy.module,
            &copy.depot,
            copy.id.as_deref(),
        ),
        log: copy.log,
        kind: DepotKind::Mirror,
        placement: Partition::<()>::disallow().into_placement(),
        record,
        place,
    }
}

#[cfg(test)]
mod tests;
