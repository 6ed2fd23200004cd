//! From a draft to a definition, or to everything that is wrong with it.
//!
//! Relies on the draft being complete: `define` has returned. What must stay true: each check adds
//! its faults and goes on, in the order depots, PStates, topologies, so that one run of the
//! compiler and one of the module show all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rama_core::stream::RetryMode;
use rama_wire::LogId;

use super::draft::{
    DepotDraft, Draft, Ids, Kinded, PStateDraft, SourceDraft, StageDraft, TopologyDraft, UseDraft,
};
use super::{globals, migrations, mirrors, options};
use crate::dead_letters;
use crate::definition::{
    Definition, DefinitionError, DepotDef, DepotKind, Fault, PStateDef, SourceDef, TopologyDef,
};
use crate::graph::Place;
use crate::message::AckLevel;
use crate::migration::MigrationDef;
use crate::query_def::QueryDef;
use crate::stage::Stage;
use crate::topology_def::TopologyKind;

/// Checks a draft.
pub(super) fn finish(mut draft: Draft) -> Result<Definition, DefinitionError> {
    let mut faults = std::mem::take(&mut draft.faults);
    check_depots(&draft.depots, &mut faults);
    migrations::check_records(&draft.depots, &mut faults);
    globals::check(&draft.globals, &draft.depots, &mut faults);
    check_pstates(&draft, &mut faults);
    let mut migrations = migrations::check(&mut draft, &mut faults);
    check_paths(&draft, &mut faults);
    mirrors::check(&draft, &mut faults);
    check_uses(&draft, &mut faults);
    check_topologies(&draft, &mut faults);
    let options = options::check(&draft, &mut faults);
    check_functions(&draft, &mut faults);
    if !faults.is_empty() {
        return Err(DefinitionError {
            module: draft.module,
            faults,
        });
    }
    let owner = |pstate: &PStateDraft| draft.topologies[pstate.topology].name.clone();
    let pstates = draft.pstates.into_iter().map(|pstate| {
        let migrations = migrations.remove(pstate.name).unwrap_or_default();
        pstate_def(owner(&pstate), pstate, migrations)
    });
    let pstates = pstates.collect();
    let (copies, copied) = mirrors::copies(&draft.topologies);
    let (mut topologies, mut queries) = (Vec::new(), Vec::new());
    for topology in draft.topologies {
        match topology.kind {
            Kinded::Consumes(kind) => {
                topologies.push(topology_def(topologies.len(), kind, topology));
            }
            Kinded::Answers(_) => queries.push(query_def(topology)),
        }
    }
    let mut depots: Vec<DepotDef> = draft.depots.into_iter().map(depot_def).collect();
    depots.extend(copied);
    let letters = dead_letter_depots(&mut draft.logs, &depots, &topologies);
    depots.extend(letters);
    Ok(Definition {
        module: draft.module,
        depots,
        pstates,
        topologies,
        globals: draft.globals,
        options,
        functions: draft.functions.into_iter().map(|(def, _)| def).collect(),
        externals: draft.externals,
        queries,
        mirrors: draft.mirrors,
        copies,
    })
}

/// One for each source that has records.
fn dead_letter_depots(
    logs: &mut Ids,
    depots: &[DepotDef],
    topologies: &[TopologyDef],
) -> Vec<DepotDef> {
    let mut letters = Vec::new();
    for topology in topologies {
        for source in &topology.sources {
            let is_tick = |depot: &DepotDef| depot.log == source.log && depot.kind.tick().is_some();
            if depots.iter().any(is_tick) {
                continue;
            }
            let name = dead_letters::name(&topology.name, &source.depot);
            let log = LogId(logs.of(&name));
            letters.push(dead_letters::definition(&topology.name, source, log));
        }
    }
    letters
}

fn depot_def(depot: DepotDraft) -> DepotDef {
    DepotDef {
        name: depot.name.to_owned(),
        log: depot.log,
        kind: depot.kind,
        placement: depot.placement,
        record: depot.record,
        migrations: depot.migrations,
        place: depot.place,
    }
}

fn pstate_def(owner: String, pstate: PStateDraft, migrations: Vec<MigrationDef>) -> PStateDef {
    PStateDef {
        name: pstate.name.to_owned(),
        space: pstate.space,
        schema: pstate.schema,
        owner,
        global: pstate.global,
        private: pstate.private,
        initial: pstate.initial,
        key_placement: pstate.key_placement,
        migrations,
        place: pstate.place,
    }
}

fn topology_def(at: usize, kind: TopologyKind, topology: TopologyDraft) -> TopologyDef {
    TopologyDef {
        name: topology.name,
        slot: u16::try_from(at + 1).expect("a module has under 65,536 topologies"),
        kind,
        sources: topology.sources.into_iter().map(source_def).collect(),
        stages: stages(topology.stages),
        gathers: topology.gathers,
        graph: topology.graph,
        place: topology.place,
    }
}

fn query_def(query: TopologyDraft) -> QueryDef {
    let Kinded::Answers(kind) = query.kind else {
        unreachable!("told apart by the caller");
    };
    QueryDef {
        name: query.name,
        args: kind.args,
        result: kind.result,
        leading: kind.leading,
        first: query.first.expect("checked above"),
        stages: stages(query.stages),
        gathers: query.gathers,
        graph: query.graph,
        place: query.place,
    }
}

fn stages(stages: Vec<StageDraft>) -> Vec<Arc<dyn Stage>> {
    let stages = stages.into_iter();
    stages
        .map(|stage| stage.stage.expect("checked above"))
        .collect()
}

fn source_def(source: SourceDraft) -> SourceDef {
    SourceDef {
        depot: source.name(),
        named: source.id.is_some(),
        log: source.log,
        start: source.start,
        retry: source.retry,
        policy: source.policy,
        ack_aggregate: source.ack_aggregate,
        stage: source.stage.expect("checked above"),
        place: source.place,
    }
}

fn check_depots(depots: &[DepotDraft], faults: &mut Vec<Fault>) {
    let mut first = BTreeMap::new();
    for depot in depots {
        let object = format!("depot {}", depot.name);
        check_name(&object, depot.name, "*", depot.place, faults);
        twice(&mut first, &object, depot.name, depot.place, faults);
        if depot.kind == (DepotKind::Tick { every_ms: 0 }) {
            faults.push(Fault {
                object,
                problem: "ticks every 0 ms, which is always".to_owned(),
                fix: "give an interval of at least one millisecond".to_owned(),
                place: depot.place,
                first: None,
            });
        }
    }
}

fn check_pstates(draft: &Draft, faults: &mut Vec<Fault>) {
    let mut first: BTreeMap<&str, &PStateDraft> = BTreeMap::new();
    for pstate in &draft.pstates {
        let object = format!("PState {}", pstate.name);
        check_name(&object, pstate.name, "$$", pstate.place, faults);
        if pstate.global && pstate.key_placement.is_some() {
            faults.push(Fault {
                object: object.clone(),
                problem: "is global and places its keys, but all of it is on task 0".to_owned(),
                fix: "drop .global() from the constant, or declare it with pstate(…)".to_owned(),
                place: pstate.place,
                first: None,
            });
        }
        let Some(earlier) = first.get(pstate.name) else {
            first.insert(pstate.name, pstate);
            continue;
        };
        let (one, other) = (earlier.topology, pstate.topology);
        let (one, other) = (&draft.topologies[one].name, &draft.topologies[other].name);
        let (problem, fix) = if earlier.topology == pstate.topology {
            let fix = "declare it once and use what pstate(…) returned: it is Copy".to_owned();
            (format!("is declared twice by topology {one}"), fix)
        } else {
            let fix = format!(
                "only one topology may write it: declare it there, and let the others read through \
                 the handle that {one} got"
            );
            (
                format!("is declared by topology {one} and by topology {other}"),
                fix,
            )
        };
        let (place, first) = (pstate.place, Some(earlier.place));
        faults.push(Fault {
            object,
            problem,
            fix,
            place,
            first,
        });
    }
}

fn check_paths(draft: &Draft, faults: &mut Vec<Fault>) {
    for path in &draft.paths {
        let topology = &draft.topologies[path.topology].name;
        let object = format!("path_partition by {} in topology {topology}", path.pstate);
        let declared = draft
            .pstates
            .iter()
            .find(|pstate| pstate.name == path.pstate);
        let (problem, fix, first) = match declared {
            None => (
                "uses a PState that the module does not declare".to_owned(),
                "declare it with .pstate(…), or use hash_partition".to_owned(),
                None,
            ),
            Some(pstate) if pstate.schema_type != path.schema_type => (
                format!(
                    "takes {}, but it is declared as {}",
                    path.schema_name,
                    pstate.schema.name()
                ),
                format!("use one constant for {} everywhere", path.pstate),
                Some(pstate.place),
            ),
            Some(_) => continue,
        };
        faults.push(Fault {
            object,
            problem,
            fix,
            place: path.place,
            first,
        });
    }
}

fn check_functions(draft: &Draft, faults: &mut Vec<Fault>) {
    let mut first = BTreeMap::new();
    for (function, place) in &draft.functions {
        let object = format!("function {}", function.name);
        check_name(&object, &function.name, "", *place, faults);
        twice(&mut first, &object, &function.name, *place, faults);
    }
}

/// What code waits for exists, and does not wait for the code (D-32); what it writes is its own.
fn check_uses(draft: &Draft, faults: &mut Vec<Fault>) {
    for (topology, used, place) in &draft.uses {
        let user = &draft.topologies[*topology];
        let found = match used {
            UseDraft::Query { name, args, result } => query_mistake(draft, name, (*args, *result)),
            UseDraft::Append { depot, level } => append_mistake(draft, user, depot, *level),
            UseDraft::Write { pstate } => write_mistake(draft, *topology, pstate),
        };
        if let Some((object, problem, fix)) = found {
            faults.push(Fault {
                object: format!("{object} in topology {}", user.name),
                problem,
                fix,
                place: *place,
                first: None,
            });
        }
    }
}

type Mistake = Option<(String, String, String)>;

fn query_mistake(draft: &Draft, name: &str, types: (u64, u64)) -> Mistake {
    let found = draft.topologies.iter().find(|found| found.name == name);
    let declared = found.and_then(|found| match &found.kind {
        Kinded::Answers(query) => Some((query.args.fingerprint, query.result.fingerprint)),
        Kinded::Consumes(_) => None,
    });
    let (problem, fix) = match declared {
        None => (
            "is invoked, but the module does not declare it",
            "declare it with m.query(…, …)".to_owned(),
        ),
        Some(declared) if declared != types => (
            "is invoked with other types than it is declared with",
            format!("use one constant for {name} everywhere"),
        ),
        Some(_) => return None,
    };
    Some((format!("query {name}"), problem.to_owned(), fix))
}

fn append_mistake(draft: &Draft, user: &TopologyDraft, depot: &str, level: AckLevel) -> Mistake {
    let object = format!("append to {depot}");
    if !draft.depots.iter().any(|found| found.name == depot) {
        let fix = "declare it with m.depot(…, …)".to_owned();
        let problem = "goes to a depot that the module does not declare".to_owned();
        return Some((object, problem, fix));
    }
    let is_stream = matches!(user.kind, Kinded::Consumes(TopologyKind::Stream));
    let consumes = user.sources.iter().any(|source| source.depot == depot);
    if is_stream && consumes && level == AckLevel::Ack {
        let problem = "waits until this topology has processed the record, which waits for the \
                       append: neither ends"
            .to_owned();
        let fix = "append with AckLevel::AppendAck, or consume the depot in another topology";
        return Some((object, problem, fix.to_owned()));
    }
    None
}

/// Aggregations write as steps do: what their topology owns (P-24).
fn write_mistake(draft: &Draft, user: usize, name: &str) -> Mistake {
    let found = draft.pstates.iter().find(|pstate| pstate.name == name)?;
    if found.topology == user {
        return None;
    }
    let owner = &draft.topologies[found.topology].name;
    let problem =
        format!("writes a PState that topology {owner} declares, and that only it may write");
    let fix = format!("declare {name} here, or append to a depot that {owner} consumes");
    Some((format!("aggregation into {name}"), problem, fix))
}

/// Names are addressed in URLs, printed in columns and told apart by their first characters (O-10).
pub(super) fn check_name(
    object: &str,
    name: &str,
    prefix: &str,
    place: Place,
    faults: &mut Vec<Fault>,
) {
    let mut fault = |problem: String, fix: String| {
        faults.push(Fault {
            object: object.to_owned(),
            problem,
            fix,
            place,
            first: None,
        });
    };
    let kind = object.split(' ').next().unwrap_or(object);
    let Some(rest) = name.strip_prefix(prefix) else {
        let plain = name.trim_start_matches(['*', '$']);
        let problem = format!("has a name that does not start with {prefix}");
        return fault(
            problem,
            format!("names of {kind}s start with {prefix}: {prefix}{plain}"),
        );
    };
    if rest.is_empty() {
        let fix = format!("give it one, such as \"{prefix}example\"");
        fault("has no name".to_owned(), fix);
    } else if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        let problem = "has a name with a space, a slash or a control character".to_owned();
        fault(problem, "use letters, digits, - and _".to_owned());
    } else if rest.starts_with("__") {
        let problem = "has a name that starts like the system's own".to_owned();
        fault(
            problem,
            format!("names after {prefix}__ are reserved: drop the underscores"),
        );
    }
}

pub(super) fn twice<'a>(
    first: &mut BTreeMap<&'a str, Place>,
    object: &str,
    name: &'a str,
    place: Place,
    faults: &mut Vec<Fault>,
) {
    if let Some(earlier) = first.get(name) {
        faults.push(Fault {
            object: object.to_owned(),
            problem: "is declared twice".to_owned(),
            fix: "give one of them another name, or delete it".to_owned(),
            place,
            first: Some(*earlier),
        });
    } else {
        first.insert(name, place);
    }
}

fn check_topologies(draft: &Draft, faults: &mut Vec<Fault>) {
    let mut first = BTreeMap::new();
    for topology in &draft.topologies {
        let object = format!("topology {}", topology.name);
        check_name(&object, &topology.name, "", topology.place, faults);
        twice(&mut first, &object, &topology.name, topology.place, faults);
        let mut consumed = BTreeMap::new();
        for source in &topology.sources {
            check_source(topology, source, &draft.depots, faults);
            check_consumed_once(&mut consumed, topology, source, faults);
        }
        check_ends(topology, faults);
    }
}

fn check_source(
    topology: &TopologyDraft,
    source: &SourceDraft,
    depots: &[DepotDraft],
    faults: &mut Vec<Fault>,
) {
    if source.mirror.is_some() {
        // Its constant is the mirror's, which was declared.
        return check_id(topology, source, None, faults);
    }
    let object = format!("source {} of topology {}", source.depot, topology.name);
    let Some(depot) = depots.iter().find(|depot| depot.name == source.depot) else {
        let depots: BTreeSet<&str> = depots.iter().map(|depot| depot.name).collect();
        let depots: Vec<&str> = depots.into_iter().collect();
        let known = if depots.is_empty() {
            "none".to_owned()
        } else {
            depots.join(", ")
        };
        faults.push(Fault {
            object,
            problem: format!("consumes a depot that the module does not declare (it has {known})"),
            fix: format!(
                "declare it with m.depot(…, …), or consume another than {}",
                source.depot
            ),
            place: source.place,
            first: None,
        });
        return;
    };
    check_id(topology, source, Some(depot), faults);
    if depot.record_type != source.record_type {
        faults.push(Fault {
            object,
            problem: format!(
                "takes records of type {}, but the depot holds {}",
                source.record_name, depot.record.type_name
            ),
            fix: format!("use one constant for {} everywhere", source.depot),
            place: source.place,
            first: Some(depot.place),
        });
    }
}

/// What has an id has progress of its own.
fn check_id(
    topology: &TopologyDraft,
    source: &SourceDraft,
    depot: Option<&DepotDraft>,
    faults: &mut Vec<Fault>,
) {
    let name = source.name();
    let Some(id) = &source.id else { return };
    check_name(
        &format!("source id of {name}"),
        id,
        "",
        source.place,
        faults,
    );
    let (problem, fix) = if depot.is_some_and(|depot| depot.kind.tick().is_some()) {
        let problem = "has an id, but ticks leave nothing to go on at";
        (problem, "put both chains into one")
    } else if source.retry == RetryMode::None {
        let problem = "has an id, which is there to miss no record, and retries none";
        (problem, "drop .retry_none() or .source_id(…)")
    } else {
        return;
    };
    faults.push(Fault {
        object: format!("source {name} of topology {}", topology.name),
        problem: problem.to_owned(),
        fix: fix.to_owned(),
        place: source.place,
        first: depot.map(|depot| depot.place),
    });
}

fn check_consumed_once(
    consumed: &mut BTreeMap<String, Place>,
    topology: &TopologyDraft,
    source: &SourceDraft,
    faults: &mut Vec<Fault>,
) {
    let name = source.name();
    if let Some(earlier) = consumed.get(&name) {
        faults.push(Fault {
            object: format!("topology {}", topology.name),
            problem: format!("consumes {name} twice"),
            fix: "put both chains into one, or give the second source an id \
                  (SourceOptions::source_id)"
                .to_owned(),
            place: source.place,
            first: Some(*earlier),
        });
    } else {
        consumed.insert(name, source.place);
    }
}

/// A chain was dropped before it ended.
fn check_ends(topology: &TopologyDraft, faults: &mut Vec<Fault>) {
    let mut fault = |depot: &str, after: &str, place: Place| {
        faults.push(Fault {
            object: format!("source {depot} of topology {}", topology.name),
            problem: format!("has no end: nothing happens to what comes out of its {after}"),
            fix: "end it with .each(…), or with .done() if the steps before are all".to_owned(),
            place,
            first: None,
        });
    };
    for source in topology
        .sources
        .iter()
        .filter(|source| source.stage.is_none())
    {
        fault(source.depot, "steps", source.place);
    }
    for stage in topology.stages.iter().filter(|stage| stage.stage.is_none()) {
        fault(stage.depot, stage.opened_by.as_str(), stage.place);
    }
    for joint in topology.joints.iter().filter(|joint| !joint.closed) {
        fault(joint.depot, joint.opened_by.as_str(), joint.place);
    }
}
