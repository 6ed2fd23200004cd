//! Options that the code of a module gives itself.
//!
//! Relies on the declarations of `rama_core::options`. What must stay true: what is set here has an
//! effect, or the definition is refused (spec O-15).

use std::rc::Rc;

use rama_core::options::{self, Level, Objects, Settings};
use serde_json::Value;

use super::draft::{Draft, Kinded};
use super::{DepotDecl, Setup, Topology};
use crate::definition::Fault;
use crate::graph::Place;
use crate::topology_def::{Consumes, TopologyKind};

/// An option as the code sets it.
pub(super) struct OptionDraft {
    level: Level,
    option: String,
    value: Value,
    place: Place,
}

impl OptionDraft {
    #[track_caller]
    fn new(level: Level, option: &str, value: impl Into<Value>) -> OptionDraft {
        OptionDraft {
            level,
            option: option.to_owned(),
            value: value.into(),
            place: Place::of_caller(),
        }
    }
}

impl Setup {
    /// Sets a dynamic option of the whole module, for as long as operators set no other there. The
    /// most specific value holds: that of an object, then that of the module, then the default
    /// (spec O-15).
    ///
    /// ```
    /// # use rama_runtime::{Depot, Module, Partition, Setup};
    /// # const SEEDS: Depot<String> = Depot::named("*seeds");
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     m.option("topology.stream.timeout.seconds", 5);
    ///     m.depot(SEEDS, Partition::random()).option("depot.max.entries.per.partition", 500);
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn option(&mut self, option: &str, value: impl Into<Value>) {
        let option = OptionDraft::new(Level::Module, option, value);
        self.draft.borrow_mut().options.push(option);
    }
}

impl<T> DepotDecl<T> {
    /// Sets a dynamic option of the depot, as [`Setup::option`].
    #[track_caller]
    pub fn option(self, option: &str, value: impl Into<Value>) -> DepotDecl<T> {
        let name = self.draft.borrow().depots[self.index].name;
        let option = OptionDraft::new(Level::Depot(name.to_owned()), option, value);
        self.draft.borrow_mut().options.push(option);
        self
    }
}

impl<K: Consumes> Topology<K> {
    /// Sets a dynamic option of the topology, as [`Setup::option`].
    #[track_caller]
    pub fn option(&mut self, option: &str, value: impl Into<Value>) {
        let draft = Rc::clone(&self.draft);
        let name = draft.borrow().topologies[self.index].name.clone();
        let option = OptionDraft::new(Level::Topology(name), option, value);
        draft.borrow_mut().options.push(option);
    }
}

/// What is set, or why it may not be.
pub(super) fn check(draft: &Draft, faults: &mut Vec<Fault>) -> Settings {
    let topologies = draft.topologies.iter().filter_map(|topology| {
        let kind = match topology.kind {
            Kinded::Consumes(TopologyKind::Stream) => options::TopologyKind::Stream,
            Kinded::Consumes(TopologyKind::Microbatch) => options::TopologyKind::Microbatch,
            Kinded::Answers(_) => return None,
        };
        Some((topology.name.clone(), kind))
    });
    let objects = Objects {
        topologies: topologies.collect(),
        depots: draft.depots.iter().map(|d| d.name.to_owned()).collect(),
        pstates: draft.pstates.iter().map(|p| p.name.to_owned()).collect(),
    };
    let mut settings = Settings::new();
    for found in &draft.options {
        match options::check(Some(&objects), &found.level, &found.option, &found.value) {
            Ok(_) => {
                settings.set(found.level.clone(), &found.option, found.value.clone());
            }
            Err(refusal) => faults.push(Fault {
                object: format!("option {} of {}", found.option, found.level),
                problem: format!("has no effect: {refusal}"),
                fix: refusal.hint().to_string(),
                place: found.place,
                first: None,
            }),
        }
    }
    settings
}
