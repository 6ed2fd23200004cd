//! What options come to for a module.

use serde_json::{Value, json};

use super::*;
use crate::catalog::Catalog;
use crate::layout;
use crate::module::Module;
use crate::options::{DECLARED, Declaration, Kind, MICROBATCH_MAX_RECORDS, STREAM_TIMEOUT};
use crate::testing::{Bank, Jobs, Words};

fn layout_of(module: &dyn Module) -> Layout {
    let definition = Definition::of(module).unwrap();
    let declared = layout::declared(&definition, 4, 2);
    let entry = Catalog::new(7).reconcile(&declared).unwrap();
    Layout::new(definition, &entry)
}

/// A value of the option that is not its default.
fn other(option: &Declaration) -> Value {
    match option.kind {
        Kind::Whole { default, min, .. } if default == min => json!(min + 1),
        Kind::Whole { min, .. } => json!(min),
        Kind::Switch { default } => json!(!default),
        Kind::Weights { parts, .. } => json!({ parts[0].0: 1 }),
    }
}

/// An option that nothing reads would be a promise that is not kept.
#[test]
fn every_declared_option_changes_what_holds() {
    let layout = layout_of(&Words);
    let none = Tuning::of(&layout, &Settings::new());
    for option in DECLARED {
        let set = Settings::new().with(Level::Module, option.name, other(option));
        assert_ne!(Tuning::of(&layout, &set), none, "{}", option.name);
    }
}

/// Spec operations §6.3: the most specific value holds, for the object that it is set on alone.
#[test]
fn an_object_of_its_own_mind_differs_from_the_others() {
    let layout = layout_of(&Bank::default());
    let records = MICROBATCH_MAX_RECORDS.name;
    let settings = Settings::new().with(Level::Module, records, 50).with(
        Level::Depot("*transfers".to_owned()),
        records,
        7,
    );
    let tuning = Tuning::of(&layout, &settings);
    let TopologyTuning::Microbatch { portions, .. } = &tuning.topologies[0] else {
        panic!("the bank is a microbatch");
    };
    let found: Vec<u64> = portions
        .iter()
        .map(|(_, found)| found.max_records)
        .collect();
    assert_eq!(found, [50, 7]);
    // The name of a topology is no name of a depot.
    let stranger = Settings::new().with(Level::Topology("bank".to_owned()), records, 3);
    assert_eq!(
        Tuning::of(&layout, &stranger),
        Tuning::of(&layout, &Settings::new())
    );
    let words = layout_of(&Words);
    let timeout = Settings::new().with(Level::Topology("count".to_owned()), STREAM_TIMEOUT.name, 2);
    let tuning = Tuning::of(&words, &timeout);
    assert_eq!(tuning.tracker(0, 0).timeout, Duration::from_secs(2));
}

#[test]
fn time_is_divided_as_ever_when_nothing_is_set() {
    let layout = layout_of(&Words);
    let tuning = Tuning::of(&layout, &Settings::new());
    assert_eq!(tuning.shares, CategoryShares::default());
}

/// The conductor knows the objects from the manifest, the runtime from the definition.
#[test]
fn the_manifest_tells_the_objects_that_the_definition_has() {
    let modules: [&dyn Module; 3] = [&Bank::default(), &Words, &Jobs { all_after: true }];
    for module in modules {
        let definition = Definition::of(module).unwrap();
        let told = Objects::of_manifest(&definition.manifest());
        assert_eq!(told, objects(&definition));
        assert!(!told.depots.is_empty() && !told.topologies.is_empty() && !told.pstates.is_empty());
    }
}
