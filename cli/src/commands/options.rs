//! `rama set-option`, `rama unset-option` and `rama list-options`: settings of running modules.
//!
//! Relies on `/v1/modules/{module}/options`, and on the declarations for what there is. What must
//! stay true: the conductor checks, because it knows the module and may be of another release.

use axum::http::Method;
use rama_api::{Level, OptionInfo, OptionSetting, paths};
use rama_runtime::options::{DECLARED, Declaration};
use serde_json::{Value, json};

use super::{ask_cluster, no_conductor, parse_json};
use crate::args::Format;
use crate::args::options::{self, SetOption, UnsetOption};
use crate::client::{Client, Content};
use crate::error::{Exit, Failure, Result};
use crate::output::{self, cell, columns};

/// `rama set-option`
pub fn set(client: &Client, format: Format, args: &SetOption) -> Result<()> {
    let (value, words) = args.words.split_last().expect("clap wants two or three");
    let value = parse_json(value, "value")?;
    let setting = setting(args.level, words, value)?;
    change(client, Method::PUT, &args.module, &setting)?;
    output::print(format, &setting, || {
        format!("{} is {} now", shown(&setting, &args.module), setting.value)
    })
}

/// `rama unset-option`
pub fn unset(client: &Client, format: Format, args: &UnsetOption) -> Result<()> {
    let setting = setting(args.level, &args.words, Value::Null)?;
    change(client, Method::DELETE, &args.module, &setting)?;
    output::print(format, &setting, || {
        format!("{} is not set any more", shown(&setting, &args.module))
    })
}

/// `rama list-options MODULE`
pub fn list(client: &Client, format: Format, module: &str, set: bool) -> Result<()> {
    let path = paths::fill(paths::OPTIONS, &[module]);
    let mut infos: Vec<OptionInfo> = ask_cluster(client, &path)?;
    infos.retain(|info| info.set || !set);
    output::print_list(format, &infos, || table(&infos))
}

/// `rama list-options`
pub fn declared(format: Format) -> Result<()> {
    let all: Vec<Value> = DECLARED.iter().map(|option| describe(option)).collect();
    output::print_list(format, &all, || {
        let rows = DECLARED.iter().map(|option| {
            vec![
                option.name.to_owned(),
                option.scope.levels(),
                option.range(),
                cell(&option.default()),
                option.help.to_owned(),
            ]
        });
        columns(&["OPTION", "SET ON", "TAKES", "DEFAULT", "HELP"], rows)
    })
}

fn describe(option: &Declaration) -> Value {
    json!({
        "option": option.name,
        "levels": option.scope.level().into_iter().chain(["module"]).collect::<Vec<_>>(),
        "takes": option.range(),
        "default": option.default(),
        "help": option.help,
    })
}

fn change(client: &Client, method: Method, module: &str, setting: &OptionSetting) -> Result<()> {
    let path = paths::fill(paths::OPTIONS, &[module]);
    let changed = client.change(method, &path, Content::Json(&json!(setting)));
    changed.map_err(|failure| no_conductor(client, failure))
}

fn setting(level: options::Level, words: &[String], value: Value) -> Result<OptionSetting> {
    let (level, option) = match (level, words) {
        (options::Level::Module, [option]) => (Level::Module, option),
        (options::Level::Topology, [object, option]) => (Level::Topology(object.clone()), option),
        (options::Level::Pstate, [object, option]) => (Level::Pstate(object.clone()), option),
        (options::Level::Depot, [object, option]) => (Level::Depot(object.clone()), option),
        (options::Level::Module, _) => {
            return Err(Failure::new(
                Exit::Usage,
                "an option of a module has no object",
                "leave it out, or choose the level topology, pstate or depot",
            ));
        }
        _ => {
            return Err(Failure::new(
                Exit::Usage,
                "which object of that level?",
                "write LEVEL MODULE OBJECT OPTION, and the value to be set",
            ));
        }
    };
    Ok(OptionSetting {
        level,
        option: option.clone(),
        value,
    })
}

/// Level and object.
fn words(level: &Level) -> (&'static str, &str) {
    match level {
        Level::Module => ("module", ""),
        Level::Topology(object) => ("topology", object),
        Level::Depot(object) => ("depot", object),
        Level::Pstate(object) => ("pstate", object),
    }
}

/// An option where it stands.
pub fn place(level: &Level, option: &str) -> String {
    match words(level) {
        (_, "") => option.to_owned(),
        (level, object) => format!("{option} of {level} {object}"),
    }
}

fn shown(setting: &OptionSetting, module: &str) -> String {
    format!("{} of {module}", place(&setting.level, &setting.option))
}

fn table(infos: &[OptionInfo]) -> String {
    let rows = infos.iter().map(|info| {
        let (level, object) = words(&info.level);
        let set = if info.set { "here" } else { "" };
        vec![
            level.to_owned(),
            object.to_owned(),
            info.option.clone(),
            cell(&info.value),
            set.to_owned(),
            cell(&info.default),
            info.help.clone(),
        ]
    });
    let header = [
        "LEVEL", "OBJECT", "OPTION", "VALUE", "SET", "DEFAULT", "HELP",
    ];
    columns(&header, rows)
}
