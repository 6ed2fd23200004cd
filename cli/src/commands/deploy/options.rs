//! What the flags of a deployment say about options and settings.
//!
//! Relies on the conductor for which options and settings there are. What must stay true: what is said
//! twice or cannot be read is refused, because half of a configuration is worse than none.

use std::collections::BTreeMap;
use std::path::Path;

use rama_api::OptionsByLevel;
use serde_json::Value;

use crate::args::deploy::Deploy;
use crate::error::{Exit, Failure, Result};

/// The options of all four flags.
pub fn by_level(args: &Deploy) -> Result<OptionsByLevel> {
    let objects = |flag: &str, text: &Option<String>| {
        let mut objects: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        for setting in settings(text) {
            let (object, rest) = setting.split_once(',').unwrap_or_default();
            let (option, value) =
                pair(rest).ok_or_else(|| unread(flag, setting, "write object,option=value;…"))?;
            if object.trim().is_empty() {
                return Err(unread(flag, setting, "write object,option=value;…"));
            }
            let options = objects.entry(object.trim().to_owned()).or_default();
            if options.insert(option, value).is_some() {
                return Err(unread(flag, setting, "it is said twice"));
            }
        }
        Ok(objects)
    };
    let mut module = BTreeMap::new();
    for setting in settings(&args.module_options) {
        let flag = "--module-options";
        let (option, value) =
            pair(setting).ok_or_else(|| unread(flag, setting, "write option=value;…"))?;
        if module.insert(option, value).is_some() {
            return Err(unread(flag, setting, "it is said twice"));
        }
    }
    Ok(OptionsByLevel {
        module,
        topology: objects("--topology-options", &args.topology_options)?,
        depot: objects("--depot-options", &args.depot_options)?,
        pstate: objects("--pstate-options", &args.pstate_options)?,
    })
}

/// The settings of a file, as `section.key` or `section.section.key`.
pub fn overrides(file: Option<&Path>) -> Result<BTreeMap<String, Value>> {
    let Some(file) = file else {
        return Ok(BTreeMap::new());
    };
    let failed = |exit, cause: &dyn std::fmt::Display| {
        let text = format!("could not read the settings in {}: {cause}", file.display());
        Failure::new(exit, text, "write them as in rama.toml")
    };
    let text = std::fs::read_to_string(file).map_err(|cause| failed(Exit::NotFound, &cause))?;
    let table: toml::Table = text.parse().map_err(|cause| failed(Exit::Usage, &cause))?;
    let bare = table.iter().find(|(_, value)| !value.is_table());
    if let Some((name, _)) = bare {
        return Err(failed(Exit::Usage, &format!("{name} stands in no section")));
    }
    let mut flat = BTreeMap::new();
    flatten("", table, &mut flat).map_err(|cause| failed(Exit::Usage, &cause))?;
    Ok(flat)
}

fn flatten(
    section: &str,
    table: toml::Table,
    flat: &mut BTreeMap<String, Value>,
) -> serde_json::Result<()> {
    for (name, value) in table {
        let name = format!("{section}{name}");
        match value {
            toml::Value::Table(keys) => flatten(&format!("{name}."), keys, flat)?,
            value => drop(flat.insert(name, serde_json::to_value(value)?)),
        }
    }
    Ok(())
}

fn settings(text: &Option<String>) -> impl Iterator<Item = &str> {
    let text = text.as_deref().unwrap_or_default();
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// `option=value`; the value is JSON, or a bare word.
fn pair(text: &str) -> Option<(String, Value)> {
    let (option, value) = text.split_once('=')?;
    let (option, value) = (option.trim(), value.trim());
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    (!option.is_empty()).then(|| (option.to_owned(), value))
}

fn unread(flag: &str, setting: &str, hint: &str) -> Failure {
    let text = format!("could not use {setting} of {flag}");
    Failure::new(Exit::Usage, text, hint)
}
