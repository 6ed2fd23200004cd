//! Dynamic options and pauses.
//!
//! Relies on the metastore: what is written here is watched by workers. What must stay true: an option
//! that the runtime does not declare is refused, never stored without effect.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rama_api::{Deploy, Level, OptionInfo, OptionSetting};
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::value::{Paused, encode};
use rama_metastore::{Key as StoredKey, Level as StoredLevel, Metastore, Txn, TxnOutcome};

use super::{Answer, Api, json, module_name, modules, read};

/// The options of a deployment.
pub(super) fn of_deploy(deploy: &Deploy) -> Vec<OptionSetting> {
    let options = &deploy.options;
    let setting = |level: &Level, option: &String, value: &serde_json::Value| OptionSetting {
        level: level.clone(),
        option: option.clone(),
        value: value.clone(),
    };
    let mut all = Vec::new();
    for (option, value) in &options.module {
        all.push(setting(&Level::Module, option, value));
    }
    let levels: [(_, fn(String) -> Level); 3] = [
        (&options.topology, Level::Topology),
        (&options.depot, Level::Depot),
        (&options.pstate, Level::Pstate),
    ];
    for (objects, level) in levels {
        for (object, options) in objects {
            for (option, value) in options {
                all.push(setting(&level(object.clone()), option, value));
            }
        }
    }
    all
}

/// Refuses options: those that the runtime declares can be set, and so far it declares none.
pub(super) fn check(module: &str, settings: &[OptionSetting]) -> Result<(), Refusal> {
    let Some(first) = settings.first() else {
        return Ok(());
    };
    let text = format!(
        "could not set {} of module {module}: this release has no option of that name",
        first.option
    );
    Err(Refusal::new(Code::Invalid, text).hint("`rama listOptions` shows those that there are"))
}

async fn write<M: Metastore>(api: &Api<M>, txn: Txn) -> Result<(), Refusal> {
    match api.store.txn(txn).await {
        Ok(TxnOutcome::Done { .. }) => Ok(()),
        Ok(TxnOutcome::Refused { .. }) => Err(Refusal::new(
            Code::Rejected,
            "the metastore refused the change",
        )),
        Ok(TxnOutcome::Unknown { cause }) => Err(Refusal::new(Code::Unknown, cause)),
        Err(error) => Err(Refusal::new(Code::Unavailable, error.to_string())),
    }
}

pub(super) async fn list<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
) -> Answer {
    let snapshot = api.now();
    modules::exists(&snapshot, &module_name(&module)?)?;
    let of = snapshot
        .settings
        .iter()
        .filter(|((name, _, _), _)| *name == module);
    let infos: Vec<OptionInfo> = of
        .map(|((_, level, option), value)| OptionInfo {
            level: match level.clone() {
                StoredLevel::Module => Level::Module,
                StoredLevel::Topology(name) => Level::Topology(name),
                StoredLevel::Depot(name) => Level::Depot(name),
                StoredLevel::PState(name) => Level::Pstate(name),
            },
            option: option.clone(),
            value: value.clone(),
            set: true,
            default: serde_json::Value::Null,
            help: String::new(),
        })
        .collect();
    json(StatusCode::OK, &infos)
}

pub(super) async fn set<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
    body: Bytes,
) -> Answer {
    modules::exists(&api.now(), &module_name(&module)?)?;
    let setting: OptionSetting = read(&body)?;
    check(&module, std::slice::from_ref(&setting))?;
    json(StatusCode::OK, &setting)
}

pub(super) async fn unset<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
    body: Bytes,
) -> Answer {
    modules::exists(&api.now(), &module_name(&module)?)?;
    let setting: OptionSetting = read(&body)?;
    check(&module, std::slice::from_ref(&setting))?;
    json(StatusCode::OK, &setting)
}

pub(super) async fn pause<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path((module, topology)): Path<(String, String)>,
) -> Answer {
    modules::exists(&api.now(), &module_name(&module)?)?;
    let paused = Paused {
        since_ms: crate::wall_ms(),
        by: "operator".to_owned(),
    };
    let key = api.space.key(&StoredKey::Paused(module, topology));
    write(&api, Txn::new().put(key, encode(&paused)).repeatable()).await?;
    json(StatusCode::OK, &serde_json::json!({"paused": true}))
}

pub(super) async fn resume<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path((module, topology)): Path<(String, String)>,
) -> Answer {
    modules::exists(&api.now(), &module_name(&module)?)?;
    let key = api.space.key(&StoredKey::Paused(module, topology));
    write(&api, Txn::new().delete(key).repeatable()).await?;
    json(StatusCode::OK, &serde_json::json!({"paused": false}))
}
