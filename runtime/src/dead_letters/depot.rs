//! The dead-letter depots of a module: one for each source of a topology.
//!
//! Relies on names after `*__` being reserved, and on names having no slash. What must stay true: a
//! depot belongs to one topology and one source for ever, because its name in the catalog does.

use rama_wire::LogId;

use super::record::DeadLetterRecord;
use crate::definition::{DepotDef, DepotKind, SourceDef};
use crate::depot_def::{Partition, RecordDesc};

/// Stands for all versions of the record: a new one changes what is written, not what is read.
const FINGERPRINT: u64 = 1;

/// What the dead letters of a topology's source are called.
pub(crate) fn name(topology: &str, depot: &str) -> String {
    let depot = depot.strip_prefix('*').unwrap_or(depot);
    format!("*__dead-letters/{topology}/{depot}")
}

/// The depot for the dead letters of a source. Clients read it like any other; only the engine
/// appends.
pub(crate) fn definition(topology: &str, source: &SourceDef, log: LogId) -> DepotDef {
    DepotDef {
        name: name(topology, &source.depot),
        log,
        kind: DepotKind::DeadLetters,
        migrations: Vec::new(),
        placement: Partition::<DeadLetterRecord>::disallow().into_placement(),
        record: RecordDesc {
            fingerprint: FINGERPRINT,
            ..RecordDesc::of::<DeadLetterRecord>()
        },
        place: source.place,
    }
}
