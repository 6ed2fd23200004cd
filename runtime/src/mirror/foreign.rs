//! Another module as far as its manifest tells it: enough to reach its objects, without its code.
//!
//! Relies on indexes in a manifest being those in the definition, which is how objects go over links.
//! What must stay true: what only the module's code can decide is an error here, never a guess; and
//! none of this ever runs as a module.

use rama_core::mirrors::{Offer, Offers};
use rama_wire::{LogId, RecordError, SpaceId};

use crate::definition::{Definition, DepotDef, DepotKind, PStateDef, TopologyDef};
use crate::depot_def::{Partition, PlacementError, RecordDesc};
use crate::graph::{Graph, Place};
use crate::options::Settings;
use crate::plan::Functions;
use crate::query_def::QueryDef;
use crate::schema::{Map, Schema};
use crate::stage::{Batch, EncodedItem, Outbox, Stage};
use crate::task::Task;
use crate::topology_def::TopologyKind;

/// Who owns the PStates of another module, as far as is known here.
const ELSEWHERE: &str = "elsewhere";

/// The definition of another module, for its clients in this process.
pub(crate) fn definition(module: &str, offers: &Offers) -> Definition {
    let depots = offers.of_kind("depot").zip(1..);
    let pstates = offers.of_kind("PState").zip(1..);
    Definition {
        module: module.to_owned(),
        depots: depots.map(|(offer, id)| depot(offer, LogId(id))).collect(),
        pstates: pstates
            .map(|(offer, id)| pstate(offer, SpaceId(id)))
            .collect(),
        topologies: vec![TopologyDef {
            name: ELSEWHERE.to_owned(),
            slot: 1,
            kind: TopologyKind::Stream,
            sources: Vec::new(),
            stages: Vec::new(),
            gathers: Vec::new(),
            graph: Graph::default(),
            place: nowhere(),
        }],
        globals: Vec::new(),
        options: Settings::new(),
        functions: Functions::default(),
        externals: Vec::new(),
        queries: offers.of_kind("query").map(query).collect(),
        mirrors: Vec::new(),
        copies: Vec::new(),
    }
}

fn depot(offer: &Offer, log: LogId) -> DepotDef {
    let kind = match (offer.withheld.is_some(), offer.global) {
        (true, _) => DepotKind::Tick { every_ms: 1 },
        (false, true) => DepotKind::Global,
        (false, false) => DepotKind::Partitioned,
    };
    DepotDef {
        name: offer.name.clone(),
        log,
        kind,
        // Mirrors append to partitions that were chosen before.
        placement: Partition::<()>::disallow().into_placement(),
        record: record(offer, 0),
        migrations: Vec::new(),
        place: nowhere(),
    }
}

fn pstate(offer: &Offer, space: SpaceId) -> PStateDef {
    let elsewhere = |_: &[u8], _: u32| Err(PlacementError::Elsewhere);
    PStateDef {
        name: offer.name.clone(),
        space,
        // Plans and answers are made by the paths of the constant.
        schema: <Map<u64, u64> as Schema>::desc(),
        owner: ELSEWHERE.to_owned(),
        global: offer.global,
        private: offer.withheld.is_some(),
        initial: None,
        migrations: Vec::new(),
        key_placement: offer.custom.then(|| std::sync::Arc::new(elsewhere) as _),
        place: nowhere(),
    }
}

fn query(offer: &Offer) -> QueryDef {
    QueryDef {
        name: offer.name.clone(),
        args: record(offer, 0),
        result: record(offer, 1),
        // It begins on any task, and goes where it begins itself.
        leading: None,
        first: std::sync::Arc::new(Elsewhere),
        stages: Vec::new(),
        gathers: Vec::new(),
        graph: Graph::default(),
        place: nowhere(),
    }
}

/// Values of a type that is known by its fingerprint alone.
fn record(offer: &Offer, at: usize) -> RecordDesc {
    let fingerprint = offer.types.get(at).map(String::as_str);
    let fingerprint = u64::from_str_radix(fingerprint.unwrap_or_default(), 16);
    RecordDesc {
        type_name: offer.shown.clone(),
        // Types were compared when the module was found; nothing is read by this one.
        fingerprint: fingerprint.unwrap_or_default(),
        ..RecordDesc::of::<()>()
    }
}

fn nowhere() -> Place {
    Place {
        file: ELSEWHERE,
        line: 0,
        column: 0,
    }
}

/// Code that is in another program.
struct Elsewhere;

impl Stage for Elsewhere {
    fn run(&self, task: &Task, _: Batch, _: &mut Outbox) {
        task.fail("this is code of another module");
    }

    fn decode(
        &self,
        _: &mut dyn ExactSizeIterator<Item = EncodedItem<'_>>,
    ) -> Result<Batch, RecordError> {
        Ok(Batch::new(Vec::<crate::stage::Item<()>>::new()))
    }
}
