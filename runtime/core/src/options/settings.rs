//! What is set, and which value holds: the own one, then that of the module, then the default.
//!
//! Relies on declarations for defaults. What must stay true: the most specific value wins (spec
//! operations §6.3); a value that its declaration does not take, as another release may have left
//! it, counts as not set.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Declaration, Kind, Level, Refusal, check};
use crate::mutants::{self, Mutant};

/// Options as they are set, by level and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    levels: BTreeMap<Level, BTreeMap<String, Value>>,
}

impl Settings {
    /// Nothing is set.
    #[must_use]
    pub fn new() -> Settings {
        Settings::default()
    }

    /// The same with one option set. Whether it may be set is asked elsewhere
    /// ([`check`](super::check)); what may not has no effect.
    #[must_use]
    pub fn with(mut self, level: Level, option: &str, value: impl Into<Value>) -> Settings {
        self.set(level, option, value.into());
        self
    }

    /// Sets an option; the value that was set before.
    pub fn set(&mut self, level: Level, option: &str, value: Value) -> Option<Value> {
        let options = self.levels.entry(level).or_default();
        options.insert(option.to_owned(), value)
    }

    /// Unsets an option; the value that was set.
    pub fn unset(&mut self, level: &Level, option: &str) -> Option<Value> {
        let options = self.levels.get_mut(level)?;
        let was = options.remove(option);
        if options.is_empty() {
            self.levels.remove(level);
        }
        was
    }

    /// What is set at a level itself.
    #[must_use]
    pub fn get(&self, level: &Level, option: &str) -> Option<&Value> {
        self.levels.get(level)?.get(option)
    }

    /// Everything that is set, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Level, &str, &Value)> {
        self.levels.iter().flat_map(|(level, options)| {
            let options = options.iter();
            options.map(move |(option, value)| (level, option.as_str(), value))
        })
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// What is set and has no effect, each with the reason.
    pub fn useless(&self) -> impl Iterator<Item = Refusal> {
        let useless = |(level, option, value)| check(None, level, option, value).err();
        self.iter().filter_map(useless)
    }

    /// What is set for an object, there or above it.
    #[must_use]
    pub fn held(&self, option: &Declaration, level: &Level) -> Option<&Value> {
        let own = self.get(level, option.name);
        let above = self.get(&Level::Module, option.name);
        let order = match mutants::active(Mutant::ModuleBeforeOwn) {
            false => [own, above],
            true => [above, own],
        };
        let mut set = order.into_iter().flatten();
        set.find(|value| option.takes(value))
    }

    /// What holds for an object.
    #[must_use]
    pub fn value(&self, option: &Declaration, level: &Level) -> Value {
        let held = self.held(option, level);
        match (option.kind, held) {
            (Kind::Weights { .. }, Some(_)) => {
                let weights = self.weights(option, level).into_iter();
                let weights = weights.map(|(part, weight)| (part.to_owned(), Value::from(weight)));
                weights.collect::<serde_json::Map<_, _>>().into()
            }
            (_, Some(value)) => value.clone(),
            (_, None) => option.default(),
        }
    }

    /// What holds of a whole number.
    ///
    /// # Panics
    /// When the option is another kind.
    #[must_use]
    pub fn whole(&self, option: &Declaration, level: &Level) -> u64 {
        let Kind::Whole { default, .. } = option.kind else {
            panic!("{} is no whole number", option.name);
        };
        let held = self.held(option, level).and_then(Value::as_u64);
        held.unwrap_or(default)
    }

    /// What holds of a switch.
    ///
    /// # Panics
    /// When the option is another kind.
    #[must_use]
    pub fn switch(&self, option: &Declaration, level: &Level) -> bool {
        let Kind::Switch { default } = option.kind else {
            panic!("{} is no switch", option.name);
        };
        let held = self.held(option, level).and_then(Value::as_bool);
        held.unwrap_or(default)
    }

    /// What holds of weights, in the order of their declaration.
    ///
    /// # Panics
    /// When the option is another kind.
    #[must_use]
    pub fn weights(&self, option: &Declaration, level: &Level) -> Vec<(&'static str, u64)> {
        let Kind::Weights { parts, .. } = option.kind else {
            panic!("{} has no weights", option.name);
        };
        let held = self.held(option, level);
        let weight = |&(part, default): &(&'static str, u64)| {
            let given = held.and_then(|held| held.get(part)?.as_u64());
            (part, given.unwrap_or(default))
        };
        parts.iter().map(weight).collect()
    }
}
