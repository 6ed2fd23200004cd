//! The beginning of an operation: what is refused, and the intent that is written.
//!
//! Everything that can be refused is refused here, before any effect. The intent's transaction
//! compares the module's record as it was seen, so of two operations that begin at once one is
//! refused by the metastore, and then by name here.

use std::collections::BTreeSet;

use rama_core::mirrors::Use;
use rama_core::options::Settings;
use thiserror::Error;

use crate::ids::{InstanceId, ModuleName, OperationId};
use crate::limits::{SETTINGS_MAX, USES_MAX};
use crate::mutants::{self, Mutant};
use crate::place::{self, Movement, PlanError, Request, Scheduler};
use crate::plan::Plan;
use crate::records::{
    Change, ChangeLog, InstanceSpec, ModuleLog, ModuleMeta, ModuleState, Operation, OperationKind,
    Step,
};
use crate::store::{Key, Txn, Value};
use crate::view::View;

/// What every operation begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// A new id.
    pub id: OperationId,
    /// The revision at which the conductor that begins it wrote its own key. Each conductor writes
    /// the key before it lists what is unfinished: what one before it sent is refused from then on,
    /// so nothing begins that nobody drives.
    pub term: u64,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// What a launch is asked to make. Validated: the shape by its type, the rest by `begin_launch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchRequest {
    /// The module.
    pub module: ModuleName,
    /// The new instance; an id that was never used.
    pub instance: InstanceId,
    /// What it is.
    pub spec: InstanceSpec,
    /// Modules that it uses, from its manifest.
    pub uses: BTreeSet<ModuleName>,
    /// What it uses of them.
    pub mirrors: Vec<Use>,
    /// Dynamic options from its first moment; checked by who asks.
    pub settings: Settings,
    /// Who asks.
    pub by: String,
}

/// Why an operation does not begin. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// One operation at a time.
    #[error(
        "could not {asked} module {module}: {kind} {operation} is in progress since {since} (step \
         {step}); wait for it, or cancel it"
    )]
    InProgress {
        /// What was asked.
        asked: OperationKind,
        /// The module.
        module: ModuleName,
        /// The operation in progress.
        operation: OperationId,
        /// What it does.
        kind: OperationKind,
        /// Since when, UTC.
        since: String,
        /// How far it is.
        step: Step,
    },
    /// A launch of what runs.
    #[error(
        "could not launch module {module}: it is {state} already; use --action update, or destroy \
         it first"
    )]
    AlreadyAlive {
        /// The module.
        module: ModuleName,
        /// Where it stands.
        state: ModuleState,
    },
    /// No such module.
    #[error("could not {asked} module {module}: no module has this name; see `rama modules`")]
    UnknownModule {
        /// What was asked.
        asked: OperationKind,
        /// The name.
        module: ModuleName,
    },
    /// A used module must be there.
    #[error(
        "could not launch module {module}: it uses {uses}, which is not running; launch that first"
    )]
    DependencyMissing {
        /// The module.
        module: ModuleName,
        /// What it uses.
        uses: ModuleName,
    },
    /// A used module must have what is used of it.
    #[error("could not launch module {module}: what it uses of others is not there\n  {lacks}")]
    ObjectsMissing {
        /// The module.
        module: ModuleName,
        /// What is missing, and what to do, one on each line.
        lacks: String,
    },
    /// All uses are written in one transaction.
    #[error(
        "could not launch module {module}: it uses {count} modules, at most {USES_MAX} are taken; \
         let it use fewer"
    )]
    TooManyUsed {
        /// The module.
        module: ModuleName,
        /// How many it uses.
        count: usize,
    },
    /// All options are written in one transaction.
    #[error(
        "could not launch module {module}: {count} options are set, at most {SETTINGS_MAX} are \
         taken; set the others when it runs"
    )]
    TooManySettings {
        /// The module.
        module: ModuleName,
        /// How many are set.
        count: usize,
    },
    /// A used module must stay.
    #[error(
        "could not destroy module {module}: it is used by {}; update or destroy what uses it first",
        names(dependents)
    )]
    Dependents {
        /// The module.
        module: ModuleName,
        /// Who uses it.
        dependents: Vec<ModuleName>,
    },
    /// There is no place for it.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// The plan that a launch would make now: what `--dry-run` prints. Nothing is written.
///
/// # Errors
/// What would refuse the launch.
pub fn plan_launch(
    view: &View,
    request: &LaunchRequest,
    scheduler: &Scheduler,
) -> Result<Plan, Refusal> {
    let module = &request.module;
    refuse_second(view, module, OperationKind::Launch)?;
    if let Some(meta) = view.module(module)
        && meta.record.state != ModuleState::NotAlive
    {
        return Err(Refusal::AlreadyAlive {
            module: module.clone(),
            state: meta.record.state,
        });
    }
    let stays = |meta: &ModuleMeta| {
        meta.append_target.is_some() && meta.state != ModuleState::DestroyingStopping
    };
    let runs = |uses: &ModuleName| {
        uses == module || view.module(uses).is_some_and(|meta| stays(meta.record))
    };
    if request.uses.len() > USES_MAX {
        return Err(Refusal::TooManyUsed {
            module: module.clone(),
            count: request.uses.len(),
        });
    }
    let count = request.settings.iter().count();
    if count > SETTINGS_MAX {
        let module = module.clone();
        return Err(Refusal::TooManySettings { module, count });
    }
    if let Some(uses) = request.uses.iter().find(|uses| !runs(uses)) {
        return Err(Refusal::DependencyMissing {
            module: module.clone(),
            uses: uses.clone(),
        });
    }
    let lacks = lacks(view, request);
    if !lacks.is_empty() {
        return Err(Refusal::ObjectsMissing {
            module: module.clone(),
            lacks: lacks.join("\n  "),
        });
    }
    Ok(plan(view, module, &request.spec, scheduler)?)
}

/// What the used modules, as they run, do not have of what is used of them.
fn lacks(view: &View, request: &LaunchRequest) -> Vec<String> {
    let mut lacks = Vec::new();
    for uses in &request.uses {
        let of = |used: &&Use| used.module == uses.as_str();
        let mirrors: Vec<Use> = request.mirrors.iter().filter(of).cloned().collect();
        let runs = view.module(uses).and_then(|meta| meta.record.append_target);
        let spec = runs.and_then(|instance| view.spec(uses, &instance));
        // Programs that were deployed before they told what they offer are not judged.
        if let Some(spec) = spec.filter(|spec| !spec.record.offers.is_empty()) {
            let found = spec.record.offers.lacks(&mirrors);
            lacks.extend(found.iter().map(ToString::to_string));
        }
    }
    lacks
}

/// Places an instance that is launched.
pub(super) fn plan(
    view: &View,
    module: &ModuleName,
    spec: &InstanceSpec,
    scheduler: &Scheduler,
) -> Result<Plan, PlanError> {
    let request = Request {
        module: module.clone(),
        shape: spec.shape,
        label: spec.label.clone(),
        scheduler: scheduler.clone(),
        previous: None,
        movement: Movement::Keep,
        avoid: BTreeSet::new(),
    };
    place::place(&view.cluster(), &request)
}

/// The intent of a launch.
///
/// # Errors
/// When the launch is refused; nothing is written then.
pub fn begin_launch(
    view: &View,
    beginning: &Beginning,
    request: &LaunchRequest,
    scheduler: &Scheduler,
) -> Result<Txn, Refusal> {
    plan_launch(view, request, scheduler)?;
    let operation = Operation {
        kind: OperationKind::Launch,
        module: request.module.clone(),
        instance: Some(request.instance),
        spec: Some(request.spec.clone()),
        step: Step::Assign,
        reason: None,
        started_ms: beginning.now_ms,
        attempts: 1,
        term: beginning.term,
        by: request.by.clone(),
        outcome: None,
    };
    let state = ModuleState::LaunchingValidated;
    let txn = intent(view, beginning, operation, state, &request.settings);
    Ok(request.uses.iter().fold(txn, |txn, uses| {
        let key = Key::Dependency(request.module.clone(), uses.clone());
        touch(view, txn.put(key, Value::Dependency), uses, request)
    }))
}

/// Writes the record of a used module as it is, so that its destruction and this launch, begun at
/// once, do not both find what they need: each compares the record, and one of them is second.
fn touch(view: &View, txn: Txn, uses: &ModuleName, request: &LaunchRequest) -> Txn {
    match view.module(uses).filter(|_| *uses != request.module) {
        Some(seen) => {
            let key = Key::Module(uses.clone());
            let same = Value::Module(seen.record.clone());
            txn.at(key.clone(), seen.revision).put(key, same)
        }
        None => txn,
    }
}

/// The intent of a destruction.
///
/// # Errors
/// When it is refused; nothing is written then.
pub fn begin_destroy(
    view: &View,
    beginning: &Beginning,
    module: &ModuleName,
    by: &str,
) -> Result<Txn, Refusal> {
    refuse_second(view, module, OperationKind::Destroy)?;
    let Some(meta) = view.module(module) else {
        return Err(Refusal::UnknownModule {
            asked: OperationKind::Destroy,
            module: module.clone(),
        });
    };
    let dependents = view.dependents(module);
    if !dependents.is_empty() {
        return Err(Refusal::Dependents {
            module: module.clone(),
            dependents,
        });
    }
    let operation = Operation {
        kind: OperationKind::Destroy,
        module: module.clone(),
        instance: meta.record.append_target,
        spec: None,
        step: Step::Stop,
        reason: None,
        started_ms: beginning.now_ms,
        attempts: 1,
        term: beginning.term,
        by: by.to_owned(),
        outcome: None,
    };
    let state = ModuleState::DestroyingStopping;
    let none = Settings::new();
    Ok(intent(view, beginning, operation, state, &none))
}

fn refuse_second(view: &View, module: &ModuleName, asked: OperationKind) -> Result<(), Refusal> {
    let meta = view.module(module);
    let Some(operation) = meta.and_then(|meta| meta.record.operation) else {
        return Ok(());
    };
    let record = view.operation(&operation).map(|seen| seen.record);
    Err(Refusal::InProgress {
        asked,
        module: module.clone(),
        operation,
        kind: record.map_or(asked, |record| record.kind),
        since: utc(record.map_or(0, |record| record.started_ms)),
        step: record.map_or(Step::Assign, |record| record.step),
    })
}

fn intent(
    view: &View,
    beginning: &Beginning,
    operation: Operation,
    state: ModuleState,
    settings: &Settings,
) -> Txn {
    let id = beginning.id;
    let key = Key::Module(operation.module.clone());
    let before = view.module(&operation.module);
    let (mut meta, revision) = match before {
        Some(seen) => (seen.record.clone(), Some(seen.revision)),
        None => (fresh(state, view.log_last(&operation.module)), None),
    };
    // A module that is unknown may have come and gone since. Whatever did left an entry in its log:
    // with this comparison a refusal is final, also for a copy of this write that is still under
    // way.
    let name = operation.module.clone();
    let next_entry = Key::Log(name.clone(), meta.log_last + 1);
    meta.state = state;
    meta.operation = Some(id);
    let mut txn = Txn::new();
    if !mutants::active(Mutant::TermIgnored) {
        txn = txn.at(Key::Conductor, beginning.term);
    }
    let mut changes = Vec::new();
    for (level, option, value) in settings.iter() {
        changes.push(Change::option(level, option, Some(value)));
        let setting = Key::Setting(name.clone(), level.clone(), option.to_owned());
        txn = txn.put(setting, Value::Setting(value.clone()));
    }
    if !changes.is_empty() {
        meta.log_last += 1;
        let entry = ModuleLog::Change(ChangeLog {
            changes,
            at_ms: beginning.now_ms,
            by: operation.by.clone(),
        });
        txn = txn.put(Key::Log(name, meta.log_last), Value::Log(entry));
    }
    txn.absent(Key::Operation(id))
        .absent(next_entry)
        .as_seen(key.clone(), revision)
        .put(Key::Operation(id), Value::Operation(Box::new(operation)))
        .put(key, Value::Module(meta))
}

/// The record of a module that is not known. Its log outlives it: the numbers go on.
fn fresh(state: ModuleState, log_last: u64) -> ModuleMeta {
    ModuleMeta {
        state,
        read_target: None,
        append_target: None,
        operation: None,
        last_operation: None,
        log_last,
    }
}

fn names(modules: &[ModuleName]) -> String {
    let names: Vec<&str> = modules.iter().map(ModuleName::as_str).collect();
    names.join(", ")
}

/// Milliseconds since 1970 as an operator reads them: `2026-11-21T15:04:05Z`.
fn utc(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March, so that the leap day is the last of a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    /// Dates around leap days and the ends of years and eras.
    #[test]
    fn moments_are_written_as_dates() {
        let dates = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ];
        for (ms, text) in dates {
            assert_eq!(super::utc(ms), text);
        }
    }
}
