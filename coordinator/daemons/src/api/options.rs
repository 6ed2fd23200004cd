//! Dynamic options: what may be set, what is set, what holds.
//!
//! Relies on `rama_core::options` for what there is and on `changes` for the writing; workers watch
//! what is written. What must stay true: what has no effect on the module is refused, never stored;
//! an option that another release left can be unset.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use rama_api::{Deploy, Level as ApiLevel, OptionInfo, OptionSetting};
use rama_core::options::{self, DECLARED, Level, Objects, Settings};
use rama_gateway::bounded::Whole;
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::{Key as StoredKey, Metastore};
use rama_planner::ids::ModuleName;
use rama_planner::records::Change;
use rama_planner::store::{Key, Value};

use super::{Answer, Api, changes, json, module_name, modules, read};
use crate::snapshot::Snapshot;

/// The options of a deployment, each checked against the program.
pub(super) fn of_deploy(deploy: &Deploy, objects: &Objects) -> Result<Settings, Refusal> {
    let given = &deploy.options;
    let module = [(ApiLevel::Module, &given.module)].into_iter();
    let topologies = given.topology.iter();
    let depots = given.depot.iter();
    let pstates = given.pstate.iter();
    let all = module
        .chain(topologies.map(|(name, options)| (ApiLevel::Topology(name.clone()), options)))
        .chain(depots.map(|(name, options)| (ApiLevel::Depot(name.clone()), options)))
        .chain(pstates.map(|(name, options)| (ApiLevel::Pstate(name.clone()), options)));
    let mut settings = Settings::new();
    for (level, options) in all {
        let level = objects.resolve(level_of(&level));
        for (option, value) in options {
            check(&deploy.module, Some(objects), &level, option, Some(value))?;
            settings.set(level.clone(), option, value.clone());
        }
    }
    Ok(settings)
}

/// Refuses what cannot be set, or unset, with what can.
fn check(
    module: &str,
    objects: Option<&Objects>,
    level: &Level,
    option: &str,
    value: Option<&serde_json::Value>,
) -> Result<(), Refusal> {
    let checked = match value {
        Some(value) => options::check(objects, level, option, value),
        None => options::find(option),
    };
    let Err(refusal) = checked else { return Ok(()) };
    let verb = if value.is_some() { "set" } else { "unset" };
    let place = match level {
        Level::Module => String::new(),
        level => format!("{level} of "),
    };
    let text = format!("could not {verb} {option} of {place}module {module}: {refusal}");
    Err(Refusal::new(Code::Invalid, text).hint(refusal.hint()))
}

pub(super) async fn list<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
) -> Answer {
    let snapshot = api.now();
    modules::exists(&snapshot, &module_name(&module)?)?;
    let settings = snapshot.settings.get(&module).cloned().unwrap_or_default();
    json(StatusCode::OK, &infos(&settings))
}

/// Every option as it stands for the module, then those that are set below it.
fn infos(settings: &Settings) -> Vec<OptionInfo> {
    let info = |option: &options::Declaration, level: &Level| OptionInfo {
        level: level_for(level),
        option: option.name.to_owned(),
        value: settings.value(option, level),
        set: settings.get(level, option.name).is_some(),
        default: option.default(),
        help: option.help.to_owned(),
        takes: option.range(),
    };
    let mut infos: Vec<OptionInfo> = DECLARED
        .iter()
        .map(|option| info(option, &Level::Module))
        .collect();
    for (level, name, value) in settings.iter() {
        match options::check(None, level, name, value) {
            Ok(_) if *level == Level::Module => {}
            Ok(option) => infos.push(info(option, level)),
            Err(refusal) => infos.push(OptionInfo {
                level: level_for(level),
                option: name.to_owned(),
                value: value.clone(),
                set: true,
                default: serde_json::Value::Null,
                help: format!("has no effect: {refusal}"),
                takes: String::new(),
            }),
        }
    }
    infos
}

pub(super) async fn set<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
    Whole(body): Whole,
) -> Answer {
    let setting: OptionSetting = read(&body)?;
    change(&api, &module, &setting, Some(&setting.value)).await
}

pub(super) async fn unset<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
    Whole(body): Whole,
) -> Answer {
    let setting: OptionSetting = read(&body)?;
    change(&api, &module, &setting, None).await
}

async fn change<M: Metastore>(
    api: &Api<M>,
    module: &str,
    setting: &OptionSetting,
    value: Option<&serde_json::Value>,
) -> Answer {
    let name = module_name(module)?;
    let snapshot = api.now();
    modules::exists(&snapshot, &name)?;
    let (objects, option) = (objects(&snapshot, &name), setting.option.as_str());
    let level = level_of(&setting.level);
    let level = match objects {
        Some(objects) => objects.resolve(level),
        None => level,
    };
    let settings = snapshot.settings.get(module);
    let before = settings.and_then(|settings| settings.get(&level, option));
    if value.is_some() || before.is_none() {
        check(module, objects, &level, option, value)?;
    }
    let stored = rama_control::codec::stored_level(&level);
    let key = StoredKey::Setting(module.to_owned(), stored, option.to_owned());
    let bytes = value.map(|value| rama_control::codec::bytes(&Value::Setting(value.clone())));
    let done = Change::option(&level, option, value);
    changes::make(api, &name, (&key, bytes), done).await?;
    let answer = OptionSetting {
        level: level_for(&level),
        option: option.to_owned(),
        value: value.cloned().unwrap_or_default(),
    };
    json(StatusCode::OK, &answer)
}

/// What the newest instance of a module has; none where that is not known.
fn objects<'a>(snapshot: &'a Snapshot, name: &ModuleName) -> Option<&'a Objects> {
    let specs = snapshot
        .view
        .entries()
        .filter_map(|(key, value)| match (key, value) {
            (Key::Spec(module, _), Value::Spec(spec)) if module == name => Some(spec),
            _ => None,
        });
    let newest = specs.max_by_key(|spec| spec.created_ms)?;
    Some(&newest.objects).filter(|objects| !objects.is_empty())
}

fn level_of(level: &ApiLevel) -> Level {
    match level.clone() {
        ApiLevel::Module => Level::Module,
        ApiLevel::Topology(name) => Level::Topology(name),
        ApiLevel::Depot(name) => Level::Depot(name),
        ApiLevel::Pstate(name) => Level::PState(name),
    }
}

fn level_for(level: &Level) -> ApiLevel {
    match level.clone() {
        Level::Module => ApiLevel::Module,
        Level::Topology(name) => ApiLevel::Topology(name),
        Level::Depot(name) => ApiLevel::Depot(name),
        Level::PState(name) => ApiLevel::Pstate(name),
    }
}

#[cfg(test)]
mod tests;
