//! Objects that an update takes away, and their data with them (spec X-12).
//!
//! Relies on the catalog, which notes what is gone before a thread is started and gives its ids to
//! nobody else. What must stay true: nothing goes that was not listed; on every thread what is gone
//! is taken away before anything is served, however often a crash comes in between.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rama_io::Env;
use rama_storage::lsm::{Order, Read, WriteBatch};
use rama_storage::{Entry, Op, Partition};
use rama_wire::{LogId, SpaceId};
use serde::{Deserialize, Serialize};

use crate::catalog::ModuleEntry;
use crate::definition::{Definition, DepotDef, DepotKind};
use crate::error::{Error, Result};
use crate::system_keys;

/// Ids of objects that an update took away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    logs: BTreeSet<u16>,
    spaces: BTreeSet<u16>,
}

impl Gone {
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.spaces.is_empty()
    }
}

/// Refuses an update from `now` to `next` unless exactly what it takes away is listed. What earlier
/// code of the module left behind, which `known` has, may be listed, too.
pub(crate) fn check(
    now: &Definition,
    next: &Definition,
    known: Option<&ModuleEntry>,
    listed: &BTreeSet<String>,
) -> Result<()> {
    let refused = |why: String| {
        let module = &next.module;
        Error::rejected(format!("could not update module {module}: {why}"))
    };
    let declared = |name: &str| next.depot(name).is_some() || next.pstate(name).is_some();
    for name in listed {
        let there =
            known.is_some_and(|it| it.depots.contains_key(name) || it.pstates.contains_key(name));
        if declared(name) {
            return Err(refused(format!(
                "{name} is listed, but the new code declares it; take it off the list of objects to \
                 delete"
            )));
        }
        if !there {
            return Err(refused(format!(
                "{name} is listed, but there is no such object; take it off the list of objects to \
                 delete"
            )));
        }
    }
    let depots = now.depots.iter().filter(|depot| has_data(depot));
    let depots = depots.map(|depot| &depot.name);
    let all = depots.chain(now.pstates.iter().map(|pstate| &pstate.name));
    let lacking = all.filter(|name| !declared(name) && !listed.contains(*name));
    let lacking: Vec<&str> = lacking.map(String::as_str).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let lacking = lacking.join(", ");
    Err(refused(format!(
        "the new code lacks {lacking}, and their data would go with them; list them as objects to \
         delete (update_deleting), or declare them again"
    )))
}

/// Whether a depot is an author's and keeps records.
fn has_data(depot: &DepotDef) -> bool {
    matches!(depot.kind, DepotKind::Partitioned | DepotKind::Global)
}

impl ModuleEntry {
    /// Forgets objects by name. Their ids, and those of what is kept about them, are gone.
    pub(crate) fn delete(&mut self, names: &BTreeSet<String>) {
        for name in names {
            if let Some(pstate) = self.pstates.remove(name) {
                self.gone.spaces.insert(pstate.id);
            }
            let letters = self.depots.keys().filter(|key| is_about(key, name));
            let depots: Vec<String> = letters.chain([name]).cloned().collect();
            for name in depots {
                if let Some(depot) = self.depots.remove(&name) {
                    self.gone.logs.insert(depot.id);
                }
            }
        }
    }
}

/// Whether a depot holds the dead letters of some source that is the depot `name`.
fn is_about(letters: &str, name: &str) -> bool {
    let source = letters.strip_prefix("*__dead-letters/");
    let depot = source.and_then(|source| Some(source.split_once('/')?.1));
    let depot = depot.and_then(|depot| depot.split("//").next());
    depot.is_some() && depot == name.strip_prefix('*')
}

/// Adds what takes the data of `gone` away on a task, where there is any.
pub(crate) fn forget<E: Env>(
    gone: &Gone,
    (task, partition): (u32, &Partition<E>),
    batch: &mut WriteBatch,
    entry: &mut Entry<'_>,
) -> Result<()> {
    let store = partition.store();
    let holds = |space: SpaceId, from: &[u8], to: Option<&[u8]>| -> Result<bool> {
        let mut found = false;
        store.scan(space, from, to, Order::Ascending, &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    };
    for &id in &gone.spaces {
        let space = SpaceId(id);
        if holds(space, b"", None)? {
            batch.clear(space);
        }
        batch.delete(SpaceId::SYSTEM, &system_keys::initialized(id));
    }
    for &id in &gone.logs {
        let log = LogId(id);
        for (from, to) in system_keys::all_of(log) {
            if holds(SpaceId::SYSTEM, &from, Some(&to))? {
                batch.delete_range(SpaceId::SYSTEM, &from, &to);
            }
        }
        let range = partition.log_range(log);
        if range.start < range.end {
            entry.push(Op::Trim {
                partition: task,
                log,
                before: range.end,
            });
        }
    }
    Ok(())
}
