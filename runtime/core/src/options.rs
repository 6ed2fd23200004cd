//! Dynamic options: what may be set on a module while it runs, and which value holds.
//!
//! Relies on nothing that runs: the conductor checks with it what operators ask, task threads learn
//! from it what holds, the command line prints it. Reading order: this file (nouns), `declared`
//! (the options), `settings` (what is set, and what holds), `refusal` (what may not be set). What
//! must stay true: an option stands in one place, [`DECLARED`], and whatever is said of it is made
//! from there; only options that have an effect are declared.

mod declared;
mod refusal;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

pub use declared::*;
pub use refusal::{Objects, Refusal, TopologyKind, check, find};
pub use settings::Settings;

/// What an option is set on. A module stands above everything of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A whole module.
    Module,
    /// One of its topologies, by name.
    Topology(String),
    /// One of its depots, by name.
    Depot(String),
    /// One of its PStates, by name.
    PState(String),
}

impl Level {
    /// The object's name; none for a module.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Level::Module => None,
            Level::Topology(name) | Level::Depot(name) | Level::PState(name) => Some(name),
        }
    }

    /// `module`, `topology`, `depot` or `pstate`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Level::Module => "module",
            Level::Topology(_) => "topology",
            Level::Depot(_) => "depot",
            Level::PState(_) => "pstate",
        }
    }
}

/// What an option is about. It may be set there, and on the module, for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole module.
    Module,
    /// A stream topology.
    Stream,
    /// A microbatch topology.
    Microbatch,
    /// A depot.
    Depot,
    /// A PState.
    PState,
}

impl Scope {
    /// The level below the module on which it may be set; none when the module is the only one.
    #[must_use]
    pub fn level(self) -> Option<&'static str> {
        match self {
            Scope::Module => None,
            Scope::Stream | Scope::Microbatch => Some("topology"),
            Scope::Depot => Some("depot"),
            Scope::PState => Some("pstate"),
        }
    }

    /// Every level on which it may be set, for people.
    #[must_use]
    pub fn levels(self) -> String {
        match self.level() {
            Some(level) => format!("{level} or module"),
            None => "module".to_owned(),
        }
    }
}

/// Which values an option takes, and which holds when none is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Whole {
        /// What holds when none is set.
        default: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// True or false.
    Switch {
        /// What holds when none is set.
        default: bool,
    },
    /// An object of weights; what it leaves out keeps its default.
    Weights {
        /// Every part with its default.
        parts: &'static [(&'static str, u64)],
        /// The largest; the smallest is 1.
        max: u64,
    },
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its name, as Rama spells it where Rama has it.
    pub name: &'static str,
    /// What it is about.
    pub scope: Scope,
    /// Its values.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
}

impl Declaration {
    /// What holds when none is set.
    #[must_use]
    pub fn default(&self) -> Value {
        match self.kind {
            Kind::Whole { default, .. } => Value::from(default),
            Kind::Switch { default } => Value::from(default),
            Kind::Weights { parts, .. } => parts
                .iter()
                .map(|(part, weight)| ((*part).to_owned(), Value::from(*weight)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The values that it takes, for people.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            Kind::Whole { min, max, unit, .. } => format!("{min} to {max} {unit}"),
            Kind::Switch { .. } => "true or false".to_owned(),
            Kind::Weights { parts, max } => {
                let parts: Vec<&str> = parts.iter().map(|(part, _)| *part).collect();
                format!("an object of weights, 1 to {max}, for {}", parts.join(", "))
            }
        }
    }

    /// Whether it takes a value.
    #[must_use]
    pub fn takes(&self, value: &Value) -> bool {
        match self.kind {
            Kind::Whole { min, max, .. } => value
                .as_u64()
                .is_some_and(|number| (min..=max).contains(&number)),
            Kind::Switch { .. } => value.is_boolean(),
            Kind::Weights { parts, max } => value.as_object().is_some_and(|given| {
                given.iter().all(|(part, weight)| {
                    parts.iter().any(|(known, _)| part == known)
                        && weight.as_u64().is_some_and(|w| (1..=max).contains(&w))
                })
            }),
        }
    }

    /// Whether it has a meaning for what stands at a level.
    #[must_use]
    pub fn may_stand_at(&self, level: &Level) -> bool {
        *level == Level::Module || self.scope.level() == Some(level.kind())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object() {
            Some(object) => write!(f, "{} {object}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}
