//! Checks the declared changes of stored values, and works out the types before each of them.
//!
//! Relies on the draft. What must stay true: the changes at one location join: each takes what the
//! one before it gives, and the last gives what the schema says.

use std::collections::BTreeMap;
use std::sync::Arc;

use rama_storage::lsm::Effect;

use super::draft::{DepotDraft, Draft, MigrationDraft, PStateDraft};
use crate::definition::Fault;
use crate::migration::{Changing, Fields, Location, Merged, MigrationDef, Spread};
use crate::schema_desc::SchemaDesc;

/// The migrations of each PState, in the order of their declaration.
pub(super) fn check(
    draft: &mut Draft,
    faults: &mut Vec<Fault>,
) -> BTreeMap<&'static str, Vec<MigrationDef>> {
    let declared = std::mem::take(&mut draft.migrations);
    let mut first = BTreeMap::new();
    for migration in &declared {
        let object = object(migration);
        let key = (migration.at.pstate(), migration.id.clone());
        if let Some(earlier) = first.insert(key, migration.place) {
            faults.push(Fault {
                object,
                problem: "is declared twice".to_owned(),
                fix: "give each change of a PState an id of its own".to_owned(),
                place: migration.place,
                first: Some(earlier),
            });
        }
    }
    let mut found: BTreeMap<&'static str, Vec<MigrationDef>> = BTreeMap::new();
    // From the last to the first, so that the schema after each is known.
    for migration in declared.into_iter().rev() {
        let earlier = found.entry(migration.at.pstate()).or_default();
        match definition(draft, &migration, earlier) {
            Ok(definition) => earlier.push(definition),
            Err((problem, fix)) => faults.push(Fault {
                object: object(&migration),
                problem,
                fix,
                place: migration.place,
                first: None,
            }),
        }
    }
    found.values_mut().for_each(|steps| steps.reverse());
    found
}

/// Changes of records join like those of values.
pub(super) fn check_records(depots: &[DepotDraft], faults: &mut Vec<Fault>) {
    for depot in depots {
        let (steps, record) = (&depot.migrations, &depot.record);
        let last = (&record.type_name, record.fingerprint);
        let next = steps
            .iter()
            .skip(1)
            .map(|step| (&step.from.name, step.from.fingerprint));
        for (place, (step, wanted)) in steps.iter().zip(next.chain([last])).enumerate() {
            let earlier = steps[..place].iter().find(|earlier| earlier.id == step.id);
            let mut fault = |problem: String, fix: String| {
                faults.push(Fault {
                    object: format!("migration {:?} of {}", step.id, depot.name),
                    problem,
                    fix,
                    place: step.place,
                    first: earlier.map(|earlier| earlier.place),
                });
            };
            if earlier.is_some() {
                let fix = "give each change of a depot an id of its own".to_owned();
                fault("is declared twice".to_owned(), fix);
            }
            if step.id.is_empty() {
                let fix = "say what it changes, as in \"split\"".to_owned();
                fault("has an empty id".to_owned(), fix);
            }
            if step.to.fingerprint != wanted.1 {
                let (given, wanted) = (&step.to.name, wanted.0);
                fault(
                    format!("makes {given}, and {wanted} is what comes after it"),
                    format!("let it make {wanted}, or declare the change from {given} behind it"),
                );
            }
        }
    }
}

fn object(migration: &MigrationDraft) -> String {
    format!("migration {:?} of {}", migration.id, migration.at.pstate())
}

/// A migration, given those behind it, the nearest last. `Err`: what is wrong, and the fix.
fn definition(
    draft: &Draft,
    migration: &MigrationDraft,
    later: &[MigrationDef],
) -> Result<MigrationDef, (String, String)> {
    let name = migration.at.pstate();
    let own = |pstate: &&PStateDraft| pstate.name == name && pstate.topology == migration.topology;
    let Some(pstate) = draft.pstates.iter().find(own) else {
        let topology = &draft.topologies[migration.topology].name;
        return Err((
            format!("changes a PState that topology {topology} does not declare"),
            format!("call migrate on the topology that declares it with pstate({name})"),
        ));
    };
    if migration.id.is_empty() {
        let fix = "say what it changes, as in \"count plays\"".to_owned();
        return Err(("has an empty id".to_owned(), fix));
    }
    let to = later.last().map_or(&pstate.schema, |next| &next.from);
    let fields = later.iter().filter_map(|step| step.fields.as_deref());
    let Some(location) = Location::of(to, &migration.at, fields) else {
        return Err((
            "is for the value under one key, or for a field that was not there".to_owned(),
            "name all values, with each_value() in the place of key(…) and at(…), and declare it \
             behind the migration that adds the field"
                .to_owned(),
        ));
    };
    if location.is_top() && !pstate.global {
        check_top(name, &migration.changing)?;
    }
    let mut from = to.clone();
    let part = location.part_mut(&mut from);
    let part = part.expect("the location was found in this schema");
    let mut fields = None;
    let (old, effect) = match &migration.changing {
        Changing::Value { old, new, change } => {
            check_made((&new.name(), &new.layout()), part)?;
            let convert = location.convert(change.clone());
            (SchemaDesc::Value(old.clone()), Effect::Values(convert))
        }
        Changing::Spread { old, new, parts } => {
            check_made((&new.name(), &new.tracked().layout()), &part.tracked())?;
            let spread = Spread::new(location, to, parts.clone());
            let old = SchemaDesc::Value(old.clone());
            (old, Effect::Entries(Arc::new(spread)))
        }
        Changing::Merged { old, new, merge } => {
            check_made((&new.name(), &new.layout()), part)?;
            let merged = Merged::new(location, merge.clone());
            (old.clone(), Effect::Gathered(Arc::new(merged)))
        }
        Changing::Fields { old } => {
            let found = Arc::new(Fields::new(location, old, part)?);
            fields = Some(found.clone());
            (old.clone(), Effect::Entries(found))
        }
    };
    *part = old;
    Ok(MigrationDef {
        id: migration.id.clone(),
        from,
        to: to.clone(),
        place: migration.place,
        effect,
        fields,
    })
}

/// The elements of a whole PState have their homes on the tasks of their keys, one value has its own.
fn check_top(name: &str, changing: &Changing) -> Result<(), (String, String)> {
    let does = match changing {
        Changing::Spread { .. } => "spreads the whole of",
        Changing::Merged { .. } => "makes one value of the whole of",
        Changing::Value { .. } | Changing::Fields { .. } => return Ok(()),
    };
    Err((
        format!("{does} {name}, whose keys have homes on other tasks"),
        "store it in a PState of its own".to_owned(),
    ))
}

/// What a migration makes, by name and layout, is what is stored there after it.
fn check_made((made, layout): (&str, &str), wanted: &SchemaDesc) -> Result<(), (String, String)> {
    if layout == wanted.layout() {
        return Ok(());
    }
    let wanted = wanted.name();
    Err((
        format!("makes {made}, and {wanted} is stored there after it"),
        format!("let it make {wanted}, or declare the change from {made} behind it"),
    ))
}
