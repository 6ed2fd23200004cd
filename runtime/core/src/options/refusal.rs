//! What may not be set, and what to do about it.
//!
//! Relies on the declarations, and on the objects of a module where they are known. What must stay
//! true: whatever passes here has an effect as soon as it is set; every refusal names what would
//! do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{DECLARED, Declaration, Level, Scope};

/// How alike two names are that one may have been meant for the other.
const ALIKE_MIN: f64 = 0.85;

/// The two kinds of topologies that have options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopologyKind {
    /// Record by record.
    Stream,
    /// In numbered transactions.
    Microbatch,
}

/// The objects of a module that options are set on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Objects {
    /// Its topologies.
    pub topologies: BTreeMap<String, TopologyKind>,
    /// Its depots.
    pub depots: BTreeSet<String>,
    /// Its PStates.
    pub pstates: BTreeSet<String>,
}

impl Objects {
    /// The objects that a module's manifest (`describe`) tells; what it tells in another form is left
    /// out.
    #[must_use]
    pub fn of_manifest(manifest: &Value) -> Objects {
        let named = |list: &str| {
            let objects = manifest[list].as_array().into_iter().flatten();
            objects.filter_map(|object| Some((object["name"].as_str()?.to_owned(), object)))
        };
        let kind = |object: &Value| TopologyKind::deserialize(&object["kind"]).ok();
        Objects {
            topologies: named("topologies")
                .filter_map(|(name, object)| Some((name, kind(object)?)))
                .collect(),
            depots: named("depots").map(|(name, _)| name).collect(),
            pstates: named("pstates").map(|(name, _)| name).collect(),
        }
    }

    /// Whether there are none, as where nobody told them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Objects::default()
    }

    /// A level with the object's whole name: `lines` is `*lines`, `counts` is `$$counts`, where there is
    /// no other object of that name.
    #[must_use]
    pub fn resolve(&self, level: Level) -> Level {
        let whole = |names: &BTreeSet<String>, sigil: &str, name: String| {
            let long = format!("{sigil}{name}");
            match names.contains(&long) && !names.contains(&name) {
                true => long,
                false => name,
            }
        };
        match level {
            Level::Depot(name) => Level::Depot(whole(&self.depots, "*", name)),
            Level::PState(name) => Level::PState(whole(&self.pstates, "$$", name)),
            other => other,
        }
    }

    fn names(&self, level: &Level) -> Vec<&String> {
        match level {
            Level::Module => Vec::new(),
            Level::Topology(_) => self.topologies.keys().collect(),
            Level::Depot(_) => self.depots.iter().collect(),
            Level::PState(_) => self.pstates.iter().collect(),
        }
    }
}

/// Why an option is not set. The text says what is wrong, [`Refusal::hint`] what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No declaration has the name.
    #[error("there is no option {option}")]
    Unknown {
        /// What was asked for.
        option: String,
    },
    /// It is not about what stands at that level.
    #[error("{option} cannot be set on a {given}")]
    WrongLevel {
        /// The option.
        option: &'static str,
        /// Where it was to be set.
        given: &'static str,
        /// Where it can be.
        levels: String,
    },
    /// It is about the other kind of topologies.
    #[error("{option} has no meaning for topology {topology}, which is a {kind}")]
    WrongTopology {
        /// The option.
        option: &'static str,
        /// Where it was to be set.
        topology: String,
        /// What that is.
        kind: &'static str,
        /// The topologies of the right kind.
        others: Vec<String>,
    },
    /// The module has no such object.
    #[error("the module has no {level}")]
    NoObject {
        /// What was asked for.
        level: Level,
        /// What there is.
        names: Vec<String>,
    },
    /// The value is not one of its.
    #[error("{option} does not take {given}")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given, as JSON.
        given: String,
        /// What it takes.
        range: String,
    },
}

impl Refusal {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Refusal::Unknown { option } => match nearest(option) {
                Some(near) => format!("did you mean {near}? `rama listOptions` shows all"),
                None => "`rama listOptions` shows those that there are".to_owned(),
            },
            Refusal::WrongLevel { levels, .. } => format!("set it on a {levels}"),
            Refusal::WrongTopology { others, .. } if others.is_empty() => {
                "the module has no topology of the right kind".to_owned()
            }
            Refusal::WrongTopology { others, .. } => {
                format!("it has one for {}", others.join(", "))
            }
            Refusal::NoObject { level, names } if names.is_empty() => {
                format!("it has no {} at all", level.kind())
            }
            Refusal::NoObject { names, .. } => format!("it has {}", names.join(", ")),
            Refusal::Value { range, .. } => format!("it takes {range}"),
        }
    }
}

/// The option of a name.
///
/// # Errors
/// There is none; the hint names the nearest.
pub fn find(option: &str) -> Result<&'static Declaration, Refusal> {
    let mut all = DECLARED.iter();
    let found = all.find(|declared| declared.name == option);
    found.copied().ok_or_else(|| Refusal::Unknown {
        option: option.to_owned(),
    })
}

/// Whether an option may be set. Without the objects of the module all names are taken for its.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    objects: Option<&Objects>,
    level: &Level,
    option: &str,
    value: &Value,
) -> Result<&'static Declaration, Refusal> {
    let declared = find(option)?;
    if !declared.may_stand_at(level) {
        return Err(Refusal::WrongLevel {
            option: declared.name,
            given: level.kind(),
            levels: declared.scope.levels(),
        });
    }
    if let (Some(objects), Some(object)) = (objects, level.object()) {
        check_object(objects, level, object, declared)?;
    }
    if !declared.takes(value) {
        return Err(Refusal::Value {
            option: declared.name,
            given: value.to_string(),
            range: declared.range(),
        });
    }
    Ok(declared)
}

fn check_object(
    objects: &Objects,
    level: &Level,
    object: &str,
    declared: &Declaration,
) -> Result<(), Refusal> {
    let names = objects.names(level);
    if !names.iter().any(|name| *name == object) {
        return Err(Refusal::NoObject {
            level: level.clone(),
            names: names.into_iter().cloned().collect(),
        });
    }
    let (wanted, kind) = match declared.scope {
        Scope::Stream => (TopologyKind::Stream, "microbatch"),
        Scope::Microbatch => (TopologyKind::Microbatch, "stream"),
        Scope::Module | Scope::Depot | Scope::PState => return Ok(()),
    };
    if objects.topologies.get(object) == Some(&wanted) {
        return Ok(());
    }
    let fits = |(name, kind): (&String, &TopologyKind)| (*kind == wanted).then(|| name.clone());
    Err(Refusal::WrongTopology {
        option: declared.name,
        topology: object.to_owned(),
        kind,
        others: objects.topologies.iter().filter_map(fits).collect(),
    })
}

/// The declared name that is most like one that is not.
fn nearest(option: &str) -> Option<&'static str> {
    let alike = |declared: &&'static Declaration| {
        let likeness = strsim::jaro_winkler(declared.name, option);
        (likeness, declared.name)
    };
    let best = DECLARED
        .iter()
        .map(alike)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= ALIKE_MIN)
        .map(|(_, name)| name)
}
