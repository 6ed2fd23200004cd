//! What the dynamic options of a module come to, by index: all that a task thread asks of them.
//!
//! Relies on `rama_core::options` for which value holds. One value is made of all settings whenever
//! one changes, and handed to every task thread, which replaces the one it had: nobody waits for a
//! lock, and no thread sees half of a change. What must stay true: every option that is declared is
//! read here or in the limits of a machine, and has its effect on a thread that runs.

use std::sync::Arc;
use std::time::Duration;

use rama_core::ids::SourceId;
use rama_core::microbatch::{CoordinatorLimits, Portion};
use rama_core::options::{
    BATCH_MEMORY, DEPOT_MAX_FETCH, DEPOT_TRIM_INTERVAL, EVENT_CATEGORY_PROPORTIONS,
    EVENT_TARGET_MILLIS, FOREIGN_TIMEOUT, Level, MICROBATCH_MIGRATION_BATCH,
    MICROBATCH_MIGRATION_SECOND, Objects, PROXY_LIMIT, QUERY_TIMEOUT, REACTIVITY_QUEUE_LIMIT,
    SELECT_PAGE_SIZE, STREAM_EVENTS_PER_BATCH, STREAM_MIGRATION_BATCH, STREAM_MIGRATION_SECOND,
    Settings, TopologyKind as OptionKind,
};
use rama_core::stream::TrackerLimits;
use rama_io::CategoryShares;
use rama_storage::lsm::Pace;

use crate::definition::{Definition, DepotKind};
use crate::layout::{Layout, PStateLayout, TopologyLayout};
use crate::topology_def::TopologyKind;
use crate::trimming::Retention;

/// What holds for one launched module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// After so long an event takes no more records.
    pub(crate) event_target: Duration,
    pub(crate) shares: CategoryShares,
    /// After so long a query is given up.
    pub(crate) query_timeout: Duration,
    /// What the rows that wait at one step of a batch may take, in bytes.
    pub(crate) batch_memory: u64,
    /// How long other modules are waited for.
    pub(crate) foreign_timeout: Duration,
    /// By topology.
    pub(crate) topologies: Vec<TopologyTuning>,
    /// By depot: records that one event takes.
    pub(crate) fetch_max: Vec<u64>,
    /// By depot: what is kept of it.
    pub(crate) retention: Vec<Retention>,
    /// How often depots are trimmed.
    pub(crate) trim_every: Duration,
    /// By PState: proxies that one task has.
    pub(crate) proxies_max: Vec<usize>,
    /// By PState: changes that wait for one proxy.
    pub(crate) proxy_waiting_max: Vec<usize>,
    /// By PState: elements that a select reads in one event.
    pub(crate) page_elements: Vec<u64>,
    /// By topology: how fast the old values of its PStates are written again.
    pub(crate) migration_paces: Vec<Pace>,
}

/// What holds for a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopologyTuning {
    Stream {
        /// Events that share one write.
        batch_max: usize,
        /// By source.
        sources: Vec<TrackerLimits>,
    },
    Microbatch {
        limits: CoordinatorLimits,
        /// By source that is a depot.
        portions: Vec<(SourceId, Portion)>,
    },
}

impl Tuning {
    /// What settings come to for a module.
    pub(crate) fn of(layout: &Layout, settings: &Settings) -> Arc<Tuning> {
        let settings = &over(&layout.definition.options, settings);
        let depot = |index: usize| Level::Depot(layout.depots[index].name.clone());
        let fetch = |index| settings.whole(&DEPOT_MAX_FETCH, &depot(index));
        let of_pstates = |option| {
            let whole = |pstate: &PStateLayout| {
                let level = Level::PState(pstate.name.clone());
                settings.whole(option, &level) as usize
            };
            layout.pstates.iter().map(whole).collect()
        };
        let pages = layout.pstates.iter().map(|pstate| {
            let level = Level::PState(pstate.name.clone());
            settings.whole(&SELECT_PAGE_SIZE, &level)
        });
        let topologies = 0..layout.topologies.len();
        let target = settings.whole(&EVENT_TARGET_MILLIS, &Level::Module);
        Arc::new(Tuning {
            event_target: Duration::from_millis(target),
            shares: shares(settings),
            query_timeout: Duration::from_millis(settings.whole(&QUERY_TIMEOUT, &Level::Module)),
            batch_memory: settings.whole(&BATCH_MEMORY, &Level::Module),
            foreign_timeout: Duration::from_millis(
                settings.whole(&FOREIGN_TIMEOUT, &Level::Module),
            ),
            topologies: topologies
                .map(|index| topology(layout, settings, index))
                .collect(),
            retention: (0..layout.depots.len())
                .map(|index| match layout.definition.depots[index].kind {
                    DepotKind::Mirror => Retention::of_copy(),
                    _ => Retention::of(settings, &depot(index)),
                })
                .collect(),
            trim_every: Duration::from_secs(settings.whole(&DEPOT_TRIM_INTERVAL, &Level::Module)),
            fetch_max: (0..layout.depots.len()).map(fetch).collect(),
            proxies_max: of_pstates(&PROXY_LIMIT),
            proxy_waiting_max: of_pstates(&REACTIVITY_QUEUE_LIMIT),
            page_elements: pages.collect(),
            migration_paces: layout
                .topologies
                .iter()
                .map(|topology| migration_pace(topology, settings))
                .collect(),
        })
    }

    /// The limits of one source of a stream.
    pub(crate) fn tracker(&self, topology: u16, source: usize) -> TrackerLimits {
        match &self.topologies[usize::from(topology)] {
            TopologyTuning::Stream { sources, .. } => sources[source],
            TopologyTuning::Microbatch { .. } => unreachable!("a microbatch tracks no records"),
        }
    }

    /// After so long no tree of a stream is in work.
    pub(crate) fn tree_timeout(&self, topology: u16) -> Duration {
        match &self.topologies[usize::from(topology)] {
            TopologyTuning::Stream { sources, .. } => {
                let timeouts = sources.iter().map(|limits| limits.timeout);
                timeouts.max().unwrap_or_default()
            }
            TopologyTuning::Microbatch { .. } => unreachable!("a microbatch has no trees"),
        }
    }

    /// How many events of a stream share one write.
    pub(crate) fn batch_max(&self, topology: u16) -> usize {
        match &self.topologies[usize::from(topology)] {
            TopologyTuning::Stream { batch_max, .. } => *batch_max,
            TopologyTuning::Microbatch { .. } => unreachable!("a microbatch has no such batches"),
        }
    }
}

/// What operators set stands in the place of what the code sets (spec O-15).
fn over(code: &Settings, operators: &Settings) -> Settings {
    let mut settings = code.clone();
    for (level, option, value) in operators.iter() {
        settings.set(level.clone(), option, value.clone());
    }
    settings
}

fn topology(layout: &Layout, settings: &Settings, index: usize) -> TopologyTuning {
    let topology = &layout.topologies[index];
    let level = Level::Topology(topology.name.clone());
    let depots = topology
        .sources
        .iter()
        .map(|source| &layout.depots[usize::from(source.depot)]);
    let depots = depots.map(|depot| (depot, Level::Depot(depot.name.clone())));
    match topology.kind {
        TopologyKind::Stream => TopologyTuning::Stream {
            batch_max: settings.whole(&STREAM_EVENTS_PER_BATCH, &level) as usize,
            sources: depots
                .map(|(_, depot)| TrackerLimits::of(settings, &level, &depot))
                .collect(),
        },
        TopologyKind::Microbatch => TopologyTuning::Microbatch {
            limits: CoordinatorLimits::of(settings, &level),
            portions: topology
                .sources
                .iter()
                .zip(depots)
                .filter(|(_, (depot, _))| depot.tick.is_none())
                .map(|(source, (_, depot))| (SourceId(source.id), Portion::of(settings, &depot)))
                .collect(),
        },
    }
}

/// How fast the old values of a topology's PStates are written again (spec P-54).
fn migration_pace(topology: &TopologyLayout, settings: &Settings) -> Pace {
    let level = Level::Topology(topology.name.clone());
    let (batch, second) = match topology.kind {
        TopologyKind::Stream => (&STREAM_MIGRATION_BATCH, &STREAM_MIGRATION_SECOND),
        TopologyKind::Microbatch => (&MICROBATCH_MIGRATION_BATCH, &MICROBATCH_MIGRATION_SECOND),
    };
    Pace {
        per_batch: settings.whole(batch, &level) as u32,
        per_second: settings.whole(second, &level) as u32,
    }
}

fn shares(settings: &Settings) -> CategoryShares {
    let weights = settings.weights(&EVENT_CATEGORY_PROPORTIONS, &Level::Module);
    let of = |category: &str| {
        let mut all = weights.iter();
        let found = all.find(|(part, _)| *part == category);
        found.expect("every category is declared").1 as usize
    };
    CategoryShares {
        replication: of("isr.replication"),
        client: of("client"),
        low_latency: of("low.latency"),
        flex_latency: of("flex.latency"),
        mirror_client: of("mirror.client"),
        background: of("background"),
    }
}

/// The objects of a module that options are set on.
pub(crate) fn objects(definition: &Definition) -> Objects {
    let kind = |kind| match kind {
        TopologyKind::Stream => OptionKind::Stream,
        TopologyKind::Microbatch => OptionKind::Microbatch,
    };
    let topologies = definition.topologies.iter();
    let (depots, pstates) = (definition.declared_depots(), definition.pstates.iter());
    Objects {
        topologies: topologies
            .map(|found| (found.name.clone(), kind(found.kind)))
            .collect(),
        depots: depots.map(|depot| depot.name.clone()).collect(),
        pstates: pstates.map(|pstate| pstate.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests;
