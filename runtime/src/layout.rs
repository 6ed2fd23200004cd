//! A module as its task threads see it: the definition with the ids that its files hold.
//!
//! Relies on the catalog for the ids on disk and on the definition for everything else. What must
//! stay true: one layout is shared by all task threads and clients of a launch, so that an index
//! into it means the same everywhere; ids that reach a file are only ever the catalog's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rama_core::ids::SourceId;
use rama_core::microbatch::{CoordinatorLimits, CoordinatorOptions, Portion, Source, SourceKind};
use rama_core::policy::FailurePolicy;
use rama_core::stream::{RetryMode, TrackerOptions};
use rama_wire::{LogId, SpaceId};

use crate::catalog::{Declared, DeclaredObject, Migrated, ModuleEntry, StoredType};
use crate::clock::Clock;
use crate::cluster::WeakCluster;
use crate::dead_letters;
use crate::definition::{Definition, DepotKind};
use crate::error::Error;
use crate::failure::{self, EventFailure, raise};
use crate::gather::{GatherDef, Reach};
use crate::migration::{MigrationDef, RecordMigrationDef, RecordType};
use crate::query_def::QueryDef;
use crate::removal::Gone;
use crate::schema_desc::SchemaDesc;
use crate::stage::{SourceStage, Stage};
use crate::topology_def::{AckAggregate, Start, TopologyKind};

/// A launched module.
pub(crate) struct Layout {
    pub(crate) module: String,
    pub(crate) tasks: u32,
    pub(crate) threads: u32,
    pub(crate) depots: Vec<DepotLayout>,
    pub(crate) pstates: Vec<PStateLayout>,
    pub(crate) topologies: Vec<TopologyLayout>,
    pub(crate) queries: Vec<QueryLayout>,
    pub(crate) definition: Definition,
    /// What updates took away.
    pub(crate) gone: Gone,
    /// What author code is told of the time.
    pub(crate) clock: Arc<Clock>,
    /// The way to other modules.
    pub(crate) others: WeakCluster,
    /// Index of a PState by its provisional id.
    by_space: BTreeMap<SpaceId, u16>,
    /// Index of a depot by its provisional id.
    by_log: BTreeMap<LogId, u16>,
}

pub(crate) struct DepotLayout {
    pub(crate) name: String,
    pub(crate) log: LogId,
    pub(crate) partitions: u32,
    pub(crate) tick: Option<Duration>,
    /// Topologies that read it and the index of their source.
    pub(crate) consumers: Vec<(u16, usize)>,
    /// Those of the consumers that are streams.
    pub(crate) streams: Vec<(u16, usize)>,
}

pub(crate) struct PStateLayout {
    pub(crate) name: String,
    pub(crate) space: SpaceId,
    /// Index of the topology that may write it.
    pub(crate) owner: u16,
}

pub(crate) struct TopologyLayout {
    pub(crate) name: String,
    pub(crate) slot: u16,
    pub(crate) kind: TopologyKind,
    pub(crate) sources: Vec<SourceLayout>,
    pub(crate) stages: Vec<Arc<dyn Stage>>,
    pub(crate) gathers: Vec<GatherDef>,
}

/// A query, which has nothing on disk.
pub(crate) struct QueryLayout {
    pub(crate) name: String,
    pub(crate) first: Arc<dyn Stage>,
    pub(crate) stages: Vec<Arc<dyn Stage>>,
    pub(crate) gathers: Vec<GatherDef>,
    pub(crate) levels: u16,
    /// Whether other tasks than the one where it began may keep something of it.
    pub(crate) keeps_elsewhere: bool,
}

impl QueryLayout {
    fn new(definition: &QueryDef) -> QueryLayout {
        let gathers = definition.gathers.clone();
        QueryLayout {
            name: definition.name.clone(),
            first: definition.first.clone(),
            stages: definition.stages.clone(),
            levels: GatherDef::levels(&gathers),
            keeps_elsewhere: gathers.iter().any(|gather| gather.reach != Reach::Origin),
            gathers,
        }
    }
}

pub(crate) struct SourceLayout {
    /// As that of its definition.
    pub(crate) name: String,
    /// Index of the depot.
    pub(crate) depot: u16,
    /// Durable id: the depot's on disk, or that of its dead letters where the source has one of its
    /// own.
    pub(crate) id: u16,
    /// Index of the depot for its dead letters; a tick has none.
    pub(crate) dead_letters: Option<u16>,
    pub(crate) start: Start,
    retry: RetryMode,
    policy: FailurePolicy,
    pub(crate) ack_aggregate: Option<AckAggregate>,
    pub(crate) first: Arc<dyn SourceStage>,
}

fn migrated(migration: &MigrationDef) -> Migrated {
    let stored = |schema: &SchemaDesc| StoredType {
        name: schema.name(),
        fingerprint: schema.fingerprint(),
    };
    Migrated {
        id: migration.id.clone(),
        from: stored(&migration.from),
        to: stored(&migration.to),
    }
}

fn migrated_records(migration: &RecordMigrationDef) -> Migrated {
    let stored = |record: &RecordType| StoredType {
        name: record.name.clone(),
        fingerprint: record.fingerprint,
    };
    Migrated {
        id: migration.id.clone(),
        from: stored(&migration.from),
        to: stored(&migration.to),
    }
}

/// What the catalog compares with what it knows.
pub(crate) fn declared(definition: &Definition, tasks: u32, threads: u32) -> Declared {
    let object = |name: &str, kind: &str, type_name: String, fingerprint: u64| DeclaredObject {
        name: name.to_owned(),
        kind: kind.to_owned(),
        type_name,
        fingerprint,
        reads: Vec::new(),
        migrations: Vec::new(),
    };
    let depots = definition.depots.iter().map(|depot| {
        let record = &depot.record;
        DeclaredObject {
            migrations: depot.migrations.iter().map(migrated_records).collect(),
            ..object(
                &depot.name,
                depot.kind.as_str(),
                record.type_name.clone(),
                record.fingerprint,
            )
        }
    });
    let pstates = definition.pstates.iter().map(|pstate| {
        let kind = if pstate.global {
            "global PState"
        } else {
            "PState"
        };
        let schema = &pstate.schema;
        let befores = pstate.migrations.iter().map(|migration| &migration.from);
        DeclaredObject {
            reads: befores.chain([schema]).map(SchemaDesc::reads).collect(),
            migrations: pstate.migrations.iter().map(migrated).collect(),
            ..object(&pstate.name, kind, schema.name(), schema.fingerprint())
        }
    });
    let topologies = definition
        .topologies
        .iter()
        .map(|topology| object(&topology.name, topology.kind.as_str(), String::new(), 0));
    Declared {
        module: definition.module.clone(),
        tasks,
        threads,
        depots: depots.collect(),
        pstates: pstates.collect(),
        topologies: topologies.collect(),
        delete: BTreeSet::new(),
    }
}

impl Layout {
    /// Joins the definition with the ids of the catalog, which knows every object of it.
    pub(crate) fn new(definition: Definition, entry: &ModuleEntry) -> Layout {
        let (tasks, threads) = (entry.tasks, entry.threads);
        let by_log = definition
            .depots
            .iter()
            .enumerate()
            .map(|(i, depot)| (depot.log, i as u16));
        let by_space = definition
            .pstates
            .iter()
            .enumerate()
            .map(|(i, p)| (p.space, i as u16));
        let mut layout = Layout {
            module: definition.module.clone(),
            tasks,
            threads,
            depots: Vec::new(),
            pstates: Vec::new(),
            topologies: Vec::new(),
            queries: definition.queries.iter().map(QueryLayout::new).collect(),
            by_log: by_log.collect(),
            by_space: by_space.collect(),
            definition,
            gone: entry.gone.clone(),
            clock: Arc::default(),
            others: WeakCluster::default(),
        };
        layout.depots = layout.depot_layouts(entry);
        layout.pstates = layout.pstate_layouts(entry);
        layout.topologies = layout.topology_layouts(entry);
        layout.connect();
        layout
    }

    fn depot_layouts(&self, entry: &ModuleEntry) -> Vec<DepotLayout> {
        let depot = |depot: &crate::definition::DepotDef| DepotLayout {
            name: depot.name.clone(),
            log: LogId(entry.depots[&depot.name].id),
            partitions: depot.partitions(self.tasks),
            tick: depot.kind.tick(),
            consumers: Vec::new(),
            streams: Vec::new(),
        };
        self.definition.depots.iter().map(depot).collect()
    }

    fn pstate_layouts(&self, entry: &ModuleEntry) -> Vec<PStateLayout> {
        let topologies = &self.definition.topologies;
        let pstate = |pstate: &crate::definition::PStateDef| PStateLayout {
            name: pstate.name.clone(),
            space: SpaceId(entry.pstates[&pstate.name].id),
            owner: topologies
                .iter()
                .position(|topology| topology.name == pstate.owner)
                .expect("a checked definition has the owner of every PState")
                as u16,
        };
        self.definition.pstates.iter().map(pstate).collect()
    }

    fn topology_layouts(&self, entry: &ModuleEntry) -> Vec<TopologyLayout> {
        let topology = |topology: &crate::definition::TopologyDef| {
            let sources = topology.sources.iter().map(|source| {
                let depot = self.by_log[&source.log];
                let letters = dead_letters::name(&topology.name, &source.depot);
                let letters = self.depots.iter().position(|depot| depot.name == letters);
                let own = source.named.then_some(letters).flatten();
                let mirrored = self.definition.depots[usize::from(depot)].kind == DepotKind::Mirror;
                SourceLayout {
                    name: source.depot.clone(),
                    depot,
                    dead_letters: letters.map(|index| index as u16),
                    id: self.depots[own.unwrap_or(usize::from(depot))].log.0,
                    // A copy begins where the source does.
                    start: if mirrored {
                        Start::Beginning
                    } else {
                        source.start
                    },
                    retry: source.retry,
                    policy: source.policy,
                    ack_aggregate: source.ack_aggregate.clone(),
                    first: source.stage.clone(),
                }
            });
            TopologyLayout {
                name: topology.name.clone(),
                slot: entry.topologies[&topology.name].id,
                kind: topology.kind,
                sources: sources.collect(),
                stages: topology.stages.clone(),
                gathers: topology.gathers.clone(),
            }
        };
        self.definition.topologies.iter().map(topology).collect()
    }

    /// Tells every depot who reads it.
    fn connect(&mut self) {
        for (index, topology) in self.topologies.iter().enumerate() {
            for (source, found) in topology.sources.iter().enumerate() {
                let depot = &mut self.depots[usize::from(found.depot)];
                depot.consumers.push((index as u16, source));
                if topology.kind == TopologyKind::Stream {
                    depot.streams.push((index as u16, source));
                }
            }
        }
    }

    /// The task thread of a task.
    pub(crate) fn thread_of(&self, task: u32) -> u32 {
        task % self.threads
    }

    /// The task that is home to a top-level key of a PState; ends the event when its key partitioner
    /// fails.
    pub(crate) fn home(&self, space: SpaceId, key: &[u8]) -> u32 {
        let index = usize::from(self.pstate_index(space));
        let home = self.definition.pstates[index].home(key, self.tasks);
        home.unwrap_or_else(|error| {
            raise(EventFailure::Author {
                message: error.to_string(),
            })
        })
    }

    /// How many partitions an object of another module has; ends the event when that cannot be told.
    pub(crate) fn partitions_of(&self, module: &str, object: &str) -> u32 {
        let ended = || Error::unavailable("this process ends");
        let others = self.others.upgrade().ok_or_else(ended);
        let partitions = others.and_then(|others| others.partitions_of(module, object));
        partitions.unwrap_or_else(|error| failure::fail(error))
    }

    /// The index of the PState with a provisional id.
    pub(crate) fn pstate_index(&self, space: SpaceId) -> u16 {
        self.by_space[&space]
    }

    /// The index of the depot with a provisional id.
    pub(crate) fn depot_index(&self, log: LogId) -> u16 {
        self.by_log[&log]
    }

    /// The index of the topology called `name`.
    pub(crate) fn topology_index(&self, name: &str) -> Option<u16> {
        let found = self
            .topologies
            .iter()
            .position(|topology| topology.name == name);
        found.map(|index| index as u16)
    }
}

impl TopologyLayout {
    /// The coordinator's settings.
    pub(crate) fn coordinator_options(
        &self,
        layout: &Layout,
        limits: CoordinatorLimits,
        portions: &[(SourceId, Portion)],
    ) -> CoordinatorOptions {
        let source = |source: &SourceLayout| {
            let depot = &layout.depots[usize::from(source.depot)];
            let id = SourceId(source.id);
            let portion = portions.iter().find(|(of, _)| *of == id);
            let twins = self.sources.iter();
            let twins = twins.filter(|twin| twin.depot == source.depot && twin.id != source.id);
            let kind = match (depot.tick, portion) {
                (Some(interval), _) => SourceKind::Tick { interval },
                (None, portion) => SourceKind::Depot {
                    partitions: depot.partitions,
                    portion: portion.expect("every depot has a portion").1,
                },
            };
            Source {
                id,
                kind,
                policy: source.policy,
                twins: twins.map(|twin| SourceId(twin.id)).collect(),
            }
        };
        let sources = self.sources.iter().map(source).collect();
        CoordinatorOptions {
            limits,
            levels: GatherDef::levels(&self.gathers),
            ..CoordinatorOptions::new(layout.tasks, sources)
        }
    }

    /// The tracker's settings. Where it begins is stored before it boots, and the limits that are
    /// set are told it then: those it begins with are the same in each of its lives.
    pub(crate) fn tracker_options(&self, source: &SourceLayout) -> TrackerOptions {
        TrackerOptions {
            retry: source.retry,
            policy: source.policy,
            ..TrackerOptions::default()
        }
    }
}
