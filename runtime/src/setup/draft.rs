//! What has been declared so far, with everything the checks need and nothing checked.
//!
//! Relies on nothing. What must stay true: a name gets one id, at its first mention, whether it is
//! declared before or after.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::sync::Arc;

use rama_core::policy::FailurePolicy;
use rama_core::stream::RetryMode;
use rama_wire::{LogId, Record, SpaceId};

use super::options::OptionDraft;
use crate::definition::{DepotKind, Fault, KeyPlacement};
use crate::depot_def::{Depot, Placement, RecordDesc};
use crate::external::ExternalDef;
use crate::gather::GatherDef;
use crate::graph::{Graph, NodeKind, Place};
use crate::message::AckLevel;
use crate::migration::{Changing, RecordMigrationDef};
use crate::mirror::{MirrorDef, source_name};
use crate::path::Cursor;
use crate::plan::FunctionDef;
use crate::pstate::{LocalPState, PState};
use crate::query_def::Leading;
use crate::schema::Root;
use crate::schema_desc::SchemaDesc;
use crate::stage::{SourceStage, Stage};
use crate::task_global::GlobalDef;
use crate::topology_def::{AckAggregate, SourceOptions, Start, TopologyKind};

/// Provisional ids by name, dense from 1.
#[derive(Default)]
pub(super) struct Ids {
    by_name: BTreeMap<String, u16>,
}

impl Ids {
    pub(super) fn of(&mut self, name: &str) -> u16 {
        let next = u16::try_from(self.by_name.len() + 1).expect("a module has under 65,536 names");
        *self.by_name.entry(name.to_owned()).or_insert(next)
    }
}

/// Everything declared by one module.
pub(super) struct Draft {
    pub(super) module: String,
    pub(super) logs: Ids,
    pub(super) depots: Vec<DepotDraft>,
    pub(super) spaces: Ids,
    pub(super) pstates: Vec<PStateDraft>,
    pub(super) migrations: Vec<MigrationDraft>,
    pub(super) paths: Vec<PathDraft>,
    pub(super) topologies: Vec<TopologyDraft>,
    pub(super) globals: Vec<GlobalDef>,
    pub(super) options: Vec<OptionDraft>,
    pub(super) functions: Vec<(FunctionDef, Place)>,
    pub(super) externals: Vec<ExternalDef>,
    pub(super) mirrors: Vec<MirrorDef>,
    /// By topology and place.
    pub(super) uses: Vec<(usize, UseDraft, Place)>,
    /// Found by builders' calls.
    pub(super) faults: Vec<Fault>,
}

/// A declared depot.
pub(super) struct DepotDraft {
    pub(super) name: &'static str,
    pub(super) log: LogId,
    pub(super) kind: DepotKind,
    pub(super) placement: Placement,
    pub(super) record: RecordDesc,
    pub(super) record_type: TypeId,
    pub(super) migrations: Vec<RecordMigrationDef>,
    pub(super) place: Place,
}

/// A declared PState.
pub(super) struct PStateDraft {
    pub(super) name: &'static str,
    pub(super) space: SpaceId,
    pub(super) topology: usize,
    pub(super) schema: SchemaDesc,
    pub(super) schema_type: TypeId,
    pub(super) global: bool,
    pub(super) private: bool,
    pub(super) initial: Option<Vec<u8>>,
    pub(super) key_placement: Option<KeyPlacement>,
    pub(super) place: Place,
}

/// A change of the values at a location of a PState.
pub(super) struct MigrationDraft {
    pub(super) topology: usize,
    pub(super) id: String,
    pub(super) at: Cursor,
    pub(super) changing: Changing,
    pub(super) place: Place,
}

/// A `path_partition`: a PState used before it may have been declared.
pub(super) struct PathDraft {
    pub(super) pstate: &'static str,
    pub(super) topology: usize,
    pub(super) schema_type: TypeId,
    pub(super) schema_name: String,
    pub(super) place: Place,
}

/// A declared topology.
pub(super) struct TopologyDraft {
    pub(super) name: String,
    pub(super) kind: Kinded,
    pub(super) place: Place,
    pub(super) sources: Vec<SourceDraft>,
    /// Where the arguments of a query enter.
    pub(super) first: Option<Arc<dyn Stage>>,
    pub(super) stages: Vec<StageDraft>,
    pub(super) joints: Vec<JointDraft>,
    pub(super) gathers: Vec<GatherDef>,
    pub(super) slots: u16,
    pub(super) graph: Graph,
}

/// What is particular to a kind of topology.
pub(super) enum Kinded {
    /// Stream or microbatch.
    Consumes(TopologyKind),
    /// A query.
    Answers(QueryDraft),
}

/// A declared query.
pub(super) struct QueryDraft {
    pub(super) args: RecordDesc,
    pub(super) result: RecordDesc,
    pub(super) leading: Option<Leading>,
}

/// A place for a chain that others run in their event, and what opened it.
pub(super) struct JointDraft {
    pub(super) closed: bool,
    pub(super) depot: &'static str,
    pub(super) opened_by: NodeKind,
    pub(super) place: Place,
}

/// An object that a chain's code uses by name.
pub(super) enum UseDraft {
    /// It invokes a query, of these types.
    Query {
        name: &'static str,
        args: u64,
        result: u64,
    },
    /// It appends to a depot and waits so long.
    Append {
        depot: &'static str,
        level: AckLevel,
    },
    /// It aggregates into a PState.
    Write { pstate: &'static str },
}

/// A source whose chain may not be closed yet.
pub(super) struct SourceDraft {
    pub(super) depot: &'static str,
    /// The module that has the depot, and its records, if it is a mirror.
    pub(super) mirror: Option<(&'static str, RecordDesc)>,
    pub(super) log: LogId,
    pub(super) record_type: TypeId,
    pub(super) record_name: &'static str,
    pub(super) start: Start,
    pub(super) retry: RetryMode,
    pub(super) policy: FailurePolicy,
    pub(super) ack_aggregate: Option<AckAggregate>,
    pub(super) id: Option<String>,
    pub(super) stage: Option<Arc<dyn SourceStage>>,
    pub(super) place: Place,
}

/// A stage whose chain may not be closed yet, and the partitioner that opened it.
pub(super) struct StageDraft {
    pub(super) stage: Option<Arc<dyn Stage>>,
    pub(super) depot: &'static str,
    pub(super) opened_by: NodeKind,
    pub(super) place: Place,
}

impl Draft {
    pub(super) fn new(module: String) -> Draft {
        Draft {
            module,
            logs: Ids::default(),
            depots: Vec::new(),
            spaces: Ids::default(),
            pstates: Vec::new(),
            migrations: Vec::new(),
            paths: Vec::new(),
            topologies: Vec::new(),
            globals: Vec::new(),
            options: Vec::new(),
            functions: Vec::new(),
            externals: Vec::new(),
            mirrors: Vec::new(),
            uses: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn declare_depot(&mut self, mut depot: DepotDraft) -> usize {
        depot.log = LogId(self.logs.of(depot.name));
        self.depots.push(depot);
        self.depots.len() - 1
    }

    #[track_caller]
    pub(super) fn declare_pstate<S: Root>(
        &mut self,
        topology: usize,
        pstate: PState<S>,
        key_placement: Option<KeyPlacement>,
    ) -> LocalPState<S> {
        let space = SpaceId(self.spaces.of(pstate.name()));
        self.pstates.push(PStateDraft {
            name: pstate.name(),
            space,
            topology,
            schema: pstate.desc(),
            schema_type: TypeId::of::<S>(),
            global: pstate.is_global(),
            private: pstate.is_private(),
            initial: pstate.initial_bytes(),
            key_placement,
            place: Place::of_caller(),
        });
        pstate.bind(space)
    }

    pub(super) fn declare_topology(&mut self, topology: TopologyDraft) -> usize {
        self.topologies.push(topology);
        self.topologies.len() - 1
    }
}

impl DepotDraft {
    #[track_caller]
    pub(super) fn new<T: Record>(
        depot: Depot<T>,
        kind: DepotKind,
        placement: Placement,
    ) -> DepotDraft {
        DepotDraft {
            name: depot.name(),
            log: LogId(0),
            kind,
            placement,
            record: RecordDesc::of::<T>(),
            record_type: TypeId::of::<T>(),
            migrations: Vec::new(),
            place: Place::of_caller(),
        }
    }
}

impl TopologyDraft {
    pub(super) fn new(name: String, kind: Kinded, place: Place) -> TopologyDraft {
        TopologyDraft {
            name,
            kind,
            place,
            sources: Vec::new(),
            first: None,
            stages: Vec::new(),
            joints: Vec::new(),
            gathers: Vec::new(),
            slots: 0,
            graph: Graph::default(),
        }
    }
}

impl SourceDraft {
    pub(super) fn new<K, T: Record>(
        (depot, module): (Depot<T>, Option<&'static str>),
        log: LogId,
        options: SourceOptions<K>,
        place: Place,
    ) -> SourceDraft {
        SourceDraft {
            depot: depot.name(),
            mirror: module.map(|module| (module, RecordDesc::of::<T>())),
            log,
            record_type: TypeId::of::<T>(),
            record_name: type_name::<T>(),
            start: options.start,
            retry: options.retry,
            policy: options.policy,
            ack_aggregate: options.ack_aggregate,
            id: options.id,
            stage: None,
            place,
        }
    }

    /// What the depot is called in this module, and the source's own id behind it. No name of an author
    /// has a slash in it.
    pub(super) fn name(&self) -> String {
        let depot = match &self.mirror {
            None => self.depot.to_owned(),
            Some((module, _)) => source_name(module, self.depot),
        };
        match &self.id {
            None => depot,
            Some(id) => format!("{depot}//{id}"),
        }
    }
}
