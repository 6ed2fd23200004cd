//! What a module's binary prints for `describe`: everything others need to know about it without
//! running its code again.
//!
//! Relies on a checked [`Definition`]. Objects, schemas with type fingerprints, topology graphs,
//! runtime and wire versions. What must stay true: the same module gives the same bytes; a change
//! of shape that a reader could trip over raises [`VERSION`].

use rama_core::policy::{Exhausted, FailurePolicy};
use rama_core::stream::RetryMode;
use serde_json::{Value, json};

use crate::definition::{Definition, DepotDef, DepotKind, PStateDef, SourceDef, TopologyDef};
use crate::depot_def::RecordDesc;
use crate::mirror::MirrorDef;
use crate::query_def::QueryDef;
use crate::topology_def::{Start, TopologyKind};

/// Version of the manifest's own shape.
pub const VERSION: u32 = 1;

/// Version of what task threads and clients say to each other. One process so far: nothing is
/// compared yet, and the first protocol between processes starts above it.
pub const WIRE_VERSION: u32 = 0;

impl Definition {
    /// The manifest as JSON.
    pub fn manifest(&self) -> Value {
        json!({
            "manifest": VERSION,
            "module": self.module,
            "runtime": env!("CARGO_PKG_VERSION"),
            "wire": WIRE_VERSION,
            "depots": self.declared_depots().map(depot).collect::<Vec<_>>(),
            "pstates": self.pstates.iter().map(pstate).collect::<Vec<_>>(),
            "topologies": self.topologies.iter().map(topology).collect::<Vec<_>>(),
            "queries": self.queries.iter().map(query).collect::<Vec<_>>(),
            "mirrors": self.mirrors.iter().map(mirror).collect::<Vec<_>>(),
        })
    }
}

fn depot(depot: &DepotDef) -> Value {
    let mut described = json!({
        "name": depot.name,
        "kind": depot.kind.as_str(),
        "partitioner": depot.placement.kind(),
        "record": record(&depot.record),
        "place": depot.place,
    });
    if let DepotKind::Tick { every_ms } = depot.kind {
        described["every_ms"] = json!(every_ms);
    }
    described
}

fn pstate(pstate: &PStateDef) -> Value {
    json!({
        "name": pstate.name,
        "owner": pstate.owner,
        "global": pstate.global,
        "private": pstate.private,
        "partitioner": if pstate.key_placement.is_some() { "custom" } else { "hash" },
        "type": pstate.schema.name(),
        "fingerprint": fingerprint(pstate.schema.fingerprint()),
        "schema": pstate.schema.to_json(),
        "place": pstate.place,
    })
}

fn topology(topology: &TopologyDef) -> Value {
    let sources = topology
        .sources
        .iter()
        .map(|source| self::source(topology.kind, source));
    json!({
        "name": topology.name,
        "kind": topology.kind,
        "sources": sources.collect::<Vec<_>>(),
        "stages": topology.stages.len(),
        "graph": topology.graph,
        "place": topology.place,
    })
}

fn query(query: &QueryDef) -> Value {
    json!({
        "name": query.name,
        "arguments": record(&query.args),
        "result": record(&query.result),
        "client_finds_first_task": query.leading.is_some(),
        "stages": query.stages.len(),
        "graph": query.graph,
        "place": query.place,
    })
}

fn mirror(mirror: &MirrorDef) -> Value {
    let types = mirror.object.fingerprints();
    json!({
        "module": mirror.module,
        "kind": mirror.object.kind(),
        "name": mirror.object.name(),
        "type": mirror.object.types(),
        "types": types.into_iter().map(fingerprint).collect::<Vec<_>>(),
        "place": mirror.place,
    })
}

fn record(record: &RecordDesc) -> Value {
    json!({
        "type": record.type_name,
        "fingerprint": fingerprint(record.fingerprint),
        "json": (record.json_schema)(),
    })
}

fn source(kind: TopologyKind, source: &SourceDef) -> Value {
    let mut described = json!({
        "depot": source.depot,
        "start": start(source.start),
        "failures": failures(&source.policy),
    });
    if kind == TopologyKind::Stream {
        described["retry"] = json!(match source.retry {
            RetryMode::Individual => "individual",
            RetryMode::AllAfter => "all_after",
            RetryMode::None => "none",
        });
        described["combines_ack_returns"] = json!(source.ack_aggregate.is_some());
    }
    described
}

fn start(start: Start) -> Value {
    match start {
        Start::Beginning => json!("beginning"),
        Start::End => json!("end"),
        Start::Offset(offset) => json!({ "offset": offset }),
        Start::Timestamp(ms) => json!({ "timestamp_ms": ms }),
        Start::Ago(ago) => json!({ "ago_ms": u64::try_from(ago.as_millis()).unwrap_or(u64::MAX) }),
        Start::RecordsAgo(records) => json!({ "records_ago": records }),
    }
}

fn failures(policy: &FailurePolicy) -> Value {
    json!({
        "retries": policy.retries,
        "backoff_base_ms": policy.backoff_base_ms,
        "backoff_factor": policy.backoff_factor,
        "backoff_max_ms": policy.backoff_max_ms,
        "then": match policy.then {
            Exhausted::DeadLetter => "dead_letter",
            Exhausted::Skip => "skip",
            Exhausted::Pause => "pause",
        },
    })
}

/// As text: JSON numbers of other languages lose the low bits.
fn fingerprint(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

#[cfg(test)]
mod tests;
