//! Migrations of a launched module: what its stores are told of them, and how far they are.
//!
//! Relies on the stores, which do the work. What must stay true: a store knows every migration before
//! its log is read again; how far they are is measured anew whenever somebody asks who will act on
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use rama_io::Env;
use rama_storage::lsm::{
    Effect, Error as StoreError, Migration, Migrations, Pace, Progress, Reach,
};
use rama_storage::{RecordMigration, RecordProgress};
use rama_wire::{LogId, SpaceId};

use crate::catalog::ModuleEntry;
use crate::dead_letters;
use crate::definition::{Definition, DepotDef};
use crate::error::Error;
use crate::layout::Layout;
use crate::microbatch_driver::outbox;
use crate::status::MigrationStatus;
use crate::task_thread::Thread;
use crate::tuning::Tuning;

/// How often a thread looks how far it is while something is left.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// How far each migration is, by task.
pub(crate) type Measured = BTreeMap<u32, TaskProgress>;

/// How far the migrations of a task are.
#[derive(Default)]
pub(crate) struct TaskProgress {
    values: Vec<Progress>,
    records: Vec<RecordProgress>,
}

/// What the stores of a module have to know.
pub(crate) fn of(definition: &Definition, entry: &ModuleEntry) -> Migrations {
    let mut migrations = Migrations::default();
    for pstate in &definition.pstates {
        let object = &entry.pstates[&pstate.name];
        let space = SpaceId(object.id);
        let steps = pstate.migrations.iter().map(|migration| Migration {
            space,
            id: migration.id.clone(),
            effect: migration.effect.clone(),
            reach: Reach::Everywhere,
        });
        migrations.steps.extend(steps);
        let declared: Vec<&str> = pstate.migrations.iter().map(|step| &step.id[..]).collect();
        let gone = object.retired(&declared);
        migrations
            .retired
            .extend(gone.map(|step| (space, step.id.clone())));
    }
    for depot in &definition.depots {
        add_records(&mut migrations, (definition, depot), entry);
    }
    migrations
}

/// Records are in the depot, in what microbatches are about to append to it, and in dead letters.
fn add_records(
    migrations: &mut Migrations,
    (definition, depot): (&Definition, &DepotDef),
    entry: &ModuleEntry,
) {
    let object = &entry.depots[&depot.name];
    let log = LogId(object.id);
    let sources = definition.topologies.iter().flat_map(|topology| {
        let own = topology
            .sources
            .iter()
            .filter(|source| source.log == depot.log);
        own.map(|source| dead_letters::name(&topology.name, &source.depot))
    });
    let letters = sources.filter_map(|name| Some(LogId(entry.depots.get(&name)?.id)));
    let letters: Vec<LogId> = letters.collect();
    for step in &depot.migrations {
        let (id, change) = (step.id.clone(), step.change.clone());
        migrations.steps.push(Migration {
            space: SpaceId::SYSTEM,
            id: format!("{} {id}", log.0),
            effect: Effect::Values(outbox::converted(log, change.clone())),
            reach: Reach::Log,
        });
        for &log in &letters {
            let (id, convert) = (id.clone(), dead_letters::converted(change.clone()));
            migrations
                .records
                .push(RecordMigration { log, id, convert });
        }
        let convert = change;
        migrations
            .records
            .push(RecordMigration { log, id, convert });
    }
    let declared: Vec<&str> = depot.migrations.iter().map(|step| &step.id[..]).collect();
    for step in object.retired(&declared) {
        let logs = letters.iter().copied().chain([log]);
        let retired = logs.map(|log| (log, step.id.clone()));
        migrations.retired_records.extend(retired);
    }
}

/// How fast the values of each PState are written again.
pub(crate) fn paces(layout: &Layout, tuning: &Tuning) -> BTreeMap<SpaceId, Pace> {
    let pstates = layout.pstates.iter();
    let pace = |owner: u16| tuning.migration_paces[usize::from(owner)];
    pstates
        .map(|pstate| (pstate.space, pace(pstate.owner)))
        .collect()
}

/// Measures while anything is left to do.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>) {
    while measure(&thread) {
        thread.env.sleep(MEASURE_EVERY).await;
    }
}

/// Notes how far the stores of a thread are; true while something is left.
pub(crate) fn measure<E: Env>(thread: &Thread<E>) -> bool {
    let mut left = false;
    for task in &thread.tasks {
        let progress = TaskProgress {
            values: task.partition.store().migrations(),
            records: task.partition.record_migrations(),
        };
        left |= progress.values.iter().any(|found| found.bytes_left > 0);
        thread.metrics.set_migrations(task.id, progress);
    }
    left
}

/// Tells the stores of a thread how fast to go on.
pub(crate) fn set_paces<E: Env>(thread: &Thread<E>, tuning: &Tuning) {
    for (space, pace) in paces(&thread.layout, tuning) {
        for task in &thread.tasks {
            task.partition.store().set_pace(space, pace);
        }
    }
}

/// How far each migration is over all tasks that were measured.
pub(crate) fn status(layout: &Layout, measured: &Measured) -> Vec<MigrationStatus> {
    let mut all = Vec::new();
    for (pstate, definition) in layout.pstates.iter().zip(&layout.definition.pstates) {
        for migration in &definition.migrations {
            let mut status = MigrationStatus {
                object: pstate.name.clone(),
                id: migration.id.clone(),
                complete: true,
                ..MigrationStatus::default()
            };
            let progress = measured.values().flat_map(|task| &task.values);
            let own = |found: &&Progress| found.space == pstate.space && found.id == migration.id;
            for found in progress.filter(own) {
                status.complete &= found.bytes_left == 0;
                status.tasks_left += u32::from(found.bytes_left > 0);
                status.bytes_left += found.bytes_left;
                status.bytes += found.bytes;
                status.values += found.values;
                status.failure = status.failure.or_else(|| found.failure.clone());
            }
            all.push(status);
        }
    }
    for depot in &layout.definition.depots {
        for migration in &depot.migrations {
            let status = record_status(layout, measured, (&depot.name, &migration.id));
            all.push(status);
        }
    }
    all
}

/// Of the depot itself, and of the dead letters with its records.
fn record_status(
    layout: &Layout,
    measured: &Measured,
    (depot, id): (&str, &str),
) -> MigrationStatus {
    let logs = logs_of(layout, depot);
    let mut status = MigrationStatus {
        object: depot.to_owned(),
        id: id.to_owned(),
        complete: true,
        ..MigrationStatus::default()
    };
    for task in measured.values() {
        let own = |found: &&RecordProgress| logs.contains(&found.log) && found.id == id;
        let left: u64 = task
            .records
            .iter()
            .filter(own)
            .map(|found| found.left)
            .sum();
        status.complete &= left == 0;
        status.tasks_left += u32::from(left > 0);
        status.records_left += left;
    }
    status
}

fn logs_of(layout: &Layout, depot: &str) -> BTreeSet<LogId> {
    let index = layout.depots.iter().position(|found| found.name == depot);
    let sources = layout
        .topologies
        .iter()
        .flat_map(|topology| &topology.sources);
    let own = sources.filter(|source| Some(usize::from(source.depot)) == index);
    let letters = own.filter_map(|source| source.dead_letters.map(usize::from));
    letters
        .chain(index)
        .map(|index| layout.depots[index].log)
        .collect()
}

/// Refuses other code that leaves out a migration which is not complete (spec P-53).
pub(crate) fn check_complete(now: &[MigrationStatus], next: &Definition) -> Result<(), Error> {
    let stays = |status: &&MigrationStatus| {
        let (object, id) = (&status.object, &status.id);
        match (next.pstate(object), next.depot(object)) {
            (Some(pstate), _) => pstate.migrations.iter().any(|step| step.id == *id),
            (_, Some(depot)) => depot.migrations.iter().any(|step| step.id == *id),
            // Its bytes stay as they are, and nobody reads them.
            (None, None) => true,
        }
    };
    let dropped = |status: &&MigrationStatus| !status.complete && !stays(status);
    let Some(status) = now.iter().find(dropped) else {
        return Ok(());
    };
    let MigrationStatus {
        object,
        id,
        tasks_left,
        bytes_left,
        bytes,
        records_left,
        ..
    } = status;
    let left = match records_left {
        0 => format!(
            "{bytes_left} of {bytes} bytes on {tasks_left} tasks have yet to be written again"
        ),
        _ => format!("{records_left} old records on {tasks_left} tasks are not trimmed yet"),
    };
    let cause = status
        .failure
        .as_ref()
        .map_or_else(String::new, |failure| format!(" ({failure})"));
    Err(Error::rejected(format!(
        "could not update module {}: migration {id:?} of {object} is not complete, {left}{cause}; \
         leave it in the code until it is",
        next.module
    )))
}

/// Says of an error at opening which object it is about.
pub(crate) fn explain(layout: &Layout, error: &rama_storage::Error) -> Option<Error> {
    let name = |space: &SpaceId| {
        let found = layout.pstates.iter().find(|pstate| pstate.space == *space);
        found.map_or_else(|| space.to_string(), |pstate| pstate.name.clone())
    };
    match error {
        rama_storage::Error::Store(StoreError::Unfinished {
            id,
            space,
            bytes_left,
            bytes,
        }) => Some(Error::rejected(format!(
            "migration {id:?} of {} is not complete, {bytes_left} of {bytes} bytes of one task have \
             yet to be written again: put it back into the code until it is",
            name(space)
        ))),
        rama_storage::Error::Store(StoreError::Migration {
            id, space, cause, ..
        }) => Some(Error::rejected(format!(
            "migration {id:?} of {} could not convert a value: {cause}; correct its function",
            name(space)
        ))),
        rama_storage::Error::UnfinishedRecords { id, log, left } => {
            let mut depots = layout.depots.iter();
            let found = depots.find(|depot| depot.log == *log);
            let name = found.map_or_else(|| log.to_string(), |depot| depot.name.clone());
            Some(Error::rejected(format!(
                "migration {id:?} of {name} is not complete, {left} old records of one task are not \
                 trimmed yet: put it back into the code until they are"
            )))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
