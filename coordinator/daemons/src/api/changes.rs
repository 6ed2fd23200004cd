//! Changes that hold at once: one key of a module, and the entry of the module's log that tells of
//! it.
//!
//! Relies on the module's record, which every entry of the log writes anew: of two changes that are
//! made at once one is second and is tried again. What must stay true: a change and its entry are
//! one transaction; who made it reads it afterwards.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use rama_api::{Done, Kind, LogEntry, OptionSetting, Outcome, Unset};
use rama_control::codec;
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::value::{Paused, encode};
use rama_metastore::{Key as StoredKey, Metastore, Txn, TxnOutcome};
use rama_planner::ids::ModuleName;
use rama_planner::limits::{LOG_KEPT, PRUNED_MAX};
use rama_planner::records::{self, Change, ChangeLog, ModuleLog, OperationKind};
use rama_planner::store::{Key, Value};

use super::{Answer, Api, json, module_name, modules};

/// How often a change that lost against another one is tried again.
const TRIES: u32 = 8;

/// How long the newest state is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who changes something; nobody is known by name yet.
const OPERATOR: &str = "operator";

/// Writes a key, or deletes it without bytes; nothing when it is so already.
pub(super) async fn make<M: Metastore>(
    api: &Api<M>,
    module: &ModuleName,
    (key, bytes): (&StoredKey, Option<Vec<u8>>),
    change: Change,
) -> Result<(), Refusal> {
    let key = api.space.key(key);
    let unavailable = |text: String| Refusal::new(Code::Unavailable, text);
    for _ in 0..TRIES {
        let snapshot = api.now();
        modules::exists(&snapshot, module)?;
        let Some(seen) = snapshot.view.module(module) else {
            continue;
        };
        let (revision, mut meta) = (seen.revision, seen.record.clone());
        meta.log_last += 1;
        let newest = meta.log_last;
        let entry = ModuleLog::Change(ChangeLog {
            changes: vec![change.clone()],
            at_ms: crate::wall_ms(),
            by: OPERATOR.to_owned(),
        });
        let spell = |key: Key| api.space.key(&codec::stored_key(&key));
        let record = spell(Key::Module(module.clone()));
        let log = spell(Key::Log(module.clone(), meta.log_last));
        let txn = Txn::new()
            .at_revision(record.clone(), revision)
            .put(record, codec::bytes(&Value::Module(meta)))
            .put(log, codec::bytes(&Value::Log(entry)));
        // The log does not grow for ever; ends of operations keep the same bound.
        let old = newest.saturating_sub(LOG_KEPT);
        let old = snapshot.view.log_until(module, old);
        let txn = old
            .into_iter()
            .take(PRUNED_MAX)
            .fold(txn, |txn, key| txn.delete(spell(key)));
        let txn = match &bytes {
            Some(bytes) => txn.put(key.clone(), bytes.clone()),
            None => txn.delete(key.clone()),
        };
        let shown = match api.store.txn(txn).await {
            Ok(TxnOutcome::Done { revision }) => return see(api, revision).await,
            Ok(TxnOutcome::Refused { .. }) => see(api, snapshot.view.revision() + 1).await,
            Ok(TxnOutcome::Unknown { cause }) => return Err(Refusal::new(Code::Unknown, cause)),
            Err(error) => return Err(unavailable(error.to_string())),
        };
        shown?;
    }
    let text = format!("could not change module {module}: others change it all the time");
    Err(unavailable(text).hint("try again"))
}

/// Waits until what is known is as new as a revision.
async fn see<M: Metastore>(api: &Api<M>, revision: u64) -> Result<(), Refusal> {
    let mut snapshots = api.snapshots.clone();
    let shown = snapshots.wait_for(|snapshot| snapshot.view.revision() >= revision);
    match tokio::time::timeout(PATIENCE, shown).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Refusal::new(Code::Closed, "the conductor stops")),
        // It is stored; this conductor is behind.
        Err(_) => Ok(()),
    }
}

pub(super) async fn pause<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path((module, topology)): Path<(String, String)>,
) -> Answer {
    let paused = Paused {
        since_ms: crate::wall_ms(),
        by: OPERATOR.to_owned(),
    };
    let key = StoredKey::Paused(module.clone(), topology.clone());
    let change = Change::Pause { topology };
    let bytes = Some(encode(&paused));
    make(&api, &module_name(&module)?, (&key, bytes), change).await?;
    json(StatusCode::OK, &serde_json::json!({"paused": true}))
}

pub(super) async fn resume<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path((module, topology)): Path<(String, String)>,
) -> Answer {
    let key = StoredKey::Paused(module.clone(), topology.clone());
    let change = Change::Resume { topology };
    make(&api, &module_name(&module)?, (&key, None), change).await?;
    json(StatusCode::OK, &serde_json::json!({"paused": false}))
}

/// The log of a module; it outlives the module.
pub(super) async fn log<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
) -> Answer {
    let (snapshot, name) = (api.now(), module_name(&module)?);
    let entries = snapshot.view.entries();
    let entries = entries.filter_map(|(key, value)| match (key, value) {
        (Key::Log(of, number), Value::Log(entry)) if *of == name => Some((*number, entry)),
        _ => None,
    });
    let entries: Vec<LogEntry> = entries.map(|(number, entry)| told(number, entry)).collect();
    if entries.is_empty() {
        modules::exists(&snapshot, &name)?;
    }
    json(StatusCode::OK, &entries)
}

fn told(number: u64, entry: &ModuleLog) -> LogEntry {
    match entry {
        ModuleLog::Operation(entry) => LogEntry {
            number,
            at_ms: entry.started_ms,
            by: entry.by.clone(),
            done: vec![Done::Operation {
                operation: entry.operation.0,
                kind: match entry.kind {
                    OperationKind::Launch => Kind::Launch,
                    OperationKind::Destroy => Kind::Destroy,
                },
                outcome: match &entry.outcome {
                    records::Outcome::Succeeded { .. } => Outcome::Succeeded,
                    records::Outcome::RolledBack { reason, .. } => Outcome::RolledBack {
                        reason: reason.clone(),
                    },
                },
            }],
        },
        ModuleLog::Change(entry) => LogEntry {
            number,
            at_ms: entry.at_ms,
            by: entry.by.clone(),
            done: entry.changes.iter().map(done).collect(),
        },
    }
}

fn done(change: &Change) -> Done {
    let level = |level: &str, object: &Option<String>| {
        let object = object.clone().unwrap_or_default();
        match level {
            "topology" => rama_api::Level::Topology(object),
            "depot" => rama_api::Level::Depot(object),
            "pstate" => rama_api::Level::Pstate(object),
            _ => rama_api::Level::Module,
        }
    };
    match change {
        Change::SetOption {
            level: kind,
            object,
            option,
            value,
        } => Done::SetOption(OptionSetting {
            level: level(kind, object),
            option: option.clone(),
            value: value.clone(),
        }),
        Change::UnsetOption {
            level: kind,
            object,
            option,
        } => Done::UnsetOption(Unset {
            level: level(kind, object),
            option: option.clone(),
        }),
        Change::Pause { topology } => Done::Pause {
            topology: topology.clone(),
        },
        Change::Resume { topology } => Done::Resume {
            topology: topology.clone(),
        },
    }
}
