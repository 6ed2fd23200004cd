//! The durable catalog of one embedded cluster: which module owns which ids on disk.
//!
//! Relies on nothing but `Env` for its file. Names are what authors write, ids are what files hold;
//! the catalog pins the second to the first for ever, so that an update which adds or reorders
//! objects reads the old bytes. What must stay true: an id is never given to a second name, and a
//! declaration that would misread old bytes (another type, kind or task count) is refused with the
//! old and the new one and what to do, before anything is written.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::removal::Gone;

pub(crate) use file::{load, store};

/// The first id that a user's object may get; ids below belong to the system.
const FIRST_USER_ID: u16 = 1;

/// Everything a cluster remembers about itself between starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    /// Random identity written into every superblock, in hexadecimal.
    pub(crate) cluster: String,
    /// Modules by name.
    pub(crate) modules: BTreeMap<String, ModuleEntry>,
    /// How many modules were ever created: makes directory names unique.
    pub(crate) created: u64,
}

/// What one module has on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModuleEntry {
    /// Directory below the cluster's.
    pub(crate) directory: String,
    pub(crate) tasks: u32,
    pub(crate) threads: u32,
    pub(crate) depots: BTreeMap<String, Object>,
    pub(crate) pstates: BTreeMap<String, Object>,
    pub(crate) topologies: BTreeMap<String, Object>,
    /// The next free id of depots, PStates and topologies.
    pub(crate) next_ids: [u16; 3],
    /// What updates took away.
    #[serde(default, skip_serializing_if = "Gone::is_empty")]
    pub(crate) gone: Gone,
}

/// One named object with its id and what its bytes mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) id: u16,
    /// `depot`, `global depot`, `tick depot`, `pstate`, `stream` …: a change is refused (D-46).
    pub(crate) kind: String,
    /// The Rust type, for people.
    pub(crate) type_name: String,
    /// The type's fingerprint, for the comparison.
    pub(crate) fingerprint: u64,
    /// Every migration there ever was, in the order in which values pass them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) migrations: Vec<Migrated>,
}

/// A migration that began, and whose code may have gone since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Migrated {
    pub(crate) id: String,
    pub(crate) from: StoredType,
    pub(crate) to: StoredType,
}

/// What bytes mean: for people, and for the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredType {
    pub(crate) name: String,
    pub(crate) fingerprint: u64,
}

/// What a module's code declares, to be compared with the catalog.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) module: String,
    pub(crate) tasks: u32,
    pub(crate) threads: u32,
    pub(crate) depots: Vec<DeclaredObject>,
    pub(crate) pstates: Vec<DeclaredObject>,
    pub(crate) topologies: Vec<DeclaredObject>,
    /// What there was and is to go.
    pub(crate) delete: BTreeSet<String>,
}

/// One declared object.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredObject {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) type_name: String,
    pub(crate) fingerprint: u64,
    /// Fingerprints of types whose bytes are read as they are: for each migration by the type before
    /// it, and then by the type that is declared.
    pub(crate) reads: Vec<BTreeSet<u64>>,
    /// In the order of declaration.
    pub(crate) migrations: Vec<Migrated>,
}

impl Catalog {
    /// An empty catalog of a new cluster.
    pub(crate) fn new(cluster: u128) -> Catalog {
        Catalog {
            cluster: format!("{cluster:032x}"),
            modules: BTreeMap::new(),
            created: 0,
        }
    }

    /// The identity as a number.
    pub(crate) fn cluster_id(&self) -> Result<u128> {
        u128::from_str_radix(&self.cluster, 16).map_err(|source| {
            Error::new(
                crate::error::ErrorKind::Corrupt,
                "could not read the cluster id",
            )
            .caused_by(source)
        })
    }

    /// Compares a declaration with what is on disk and gives every new object an id.
    ///
    /// # Errors
    /// `Rejected`, with every mismatch and its fix, when the declaration would misread old bytes.
    /// The catalog is unchanged then.
    pub(crate) fn reconcile(&mut self, declared: &Declared) -> Result<ModuleEntry> {
        let known = self.modules.get(&declared.module);
        let mut entry = known.cloned().unwrap_or_else(|| self.new_entry(declared));
        entry.delete(&declared.delete);
        let mut faults = Vec::new();
        check_shape(&entry, declared, &mut faults);
        let [depots, pstates, topologies] = &mut entry.next_ids;
        merge(&mut entry.depots, &declared.depots, depots, &mut faults);
        merge(&mut entry.pstates, &declared.pstates, pstates, &mut faults);
        merge(
            &mut entry.topologies,
            &declared.topologies,
            topologies,
            &mut faults,
        );
        if !faults.is_empty() {
            let mut text = format!("could not launch module {} over its data", declared.module);
            for fault in &faults {
                let _ = write!(text, "\n  {fault}");
            }
            return Err(Error::rejected(text));
        }
        if known.is_none() {
            self.created += 1;
        }
        self.modules.insert(declared.module.clone(), entry.clone());
        Ok(entry)
    }

    fn new_entry(&self, declared: &Declared) -> ModuleEntry {
        ModuleEntry {
            directory: directory_name(&declared.module, self.created),
            tasks: declared.tasks,
            threads: declared.threads,
            depots: BTreeMap::new(),
            pstates: BTreeMap::new(),
            topologies: BTreeMap::new(),
            next_ids: [FIRST_USER_ID; 3],
            gone: Gone::default(),
        }
    }
}

fn check_shape(entry: &ModuleEntry, declared: &Declared, faults: &mut Vec<String>) {
    if entry.tasks != declared.tasks {
        faults.push(format!(
            "the data was written with {} tasks and the launch asks for {}: the task count is \
             fixed for the life of a module; launch with {} tasks, or use an empty directory",
            entry.tasks, declared.tasks, entry.tasks
        ));
    }
    if entry.threads != declared.threads {
        faults.push(format!(
            "the data was written with {} task threads and the launch asks for {}: launch with \
             {} threads, or use an empty directory",
            entry.threads, declared.threads, entry.threads
        ));
    }
}

/// Declared objects get the id they had, new ones the next id in the order of their names.
fn merge(
    known: &mut BTreeMap<String, Object>,
    declared: &[DeclaredObject],
    next_id: &mut u16,
    faults: &mut Vec<String>,
) {
    let declared: BTreeMap<&str, &DeclaredObject> = declared
        .iter()
        .map(|object| (object.name.as_str(), object))
        .collect();
    for (&name, object) in &declared {
        match known.get_mut(name) {
            Some(old) => compare(name, old, object, faults),
            None => {
                let id = *next_id;
                *next_id += 1;
                known.insert(name.to_owned(), object.with_id(id));
            }
        }
    }
}

/// Notes what a declaration makes of an object, or what speaks against it.
fn compare(name: &str, old: &mut Object, new: &DeclaredObject, faults: &mut Vec<String>) {
    if old.kind != new.kind {
        faults.push(format!(
            "{name} is a {} on disk and a {} in the code: give the new object another name",
            old.kind, new.kind
        ));
        return;
    }
    let began = old.migrations.len();
    let known = |step: &&Migrated| old.migrations[..began].iter().any(|m| m.id == step.id);
    let begun = new.migrations.iter().take_while(known).count();
    if let Err(fault) = check_begun(&old.migrations, &new.migrations, begun) {
        faults.push(format!("{name}: {fault}"));
        return;
    }
    let fresh = &new.migrations[begun..];
    let next = fresh
        .first()
        .map_or(new.fingerprint, |step| step.from.fingerprint);
    let read = next == old.fingerprint
        || new
            .reads
            .get(begun)
            .is_some_and(|reads| reads.contains(&old.fingerprint));
    match fresh.first() {
        _ if read => {
            old.migrations.extend_from_slice(fresh);
            (old.type_name, old.fingerprint) = (new.type_name.clone(), new.fingerprint);
        }
        Some(step) => faults.push(format!(
            "{name} holds {} on disk and its migration {:?} begins with {}: let its function take \
             what is there, or put a migration to {} before it",
            old.type_name, step.id, step.from.name, step.from.name
        )),
        None => faults.push(format!(
            "{name} holds {} on disk and the code declares {}: change the type back, or say with \
             migrate(…) what becomes of the old values, or declare the new type under another name",
            old.type_name, new.type_name
        )),
    }
}

/// Migrations that began earlier are what they were, and stand before all new ones.
fn check_begun(old: &[Migrated], new: &[Migrated], begun: usize) -> Result<(), String> {
    let mut from = 0;
    for step in &new[..begun] {
        let Some(at) = old.iter().position(|known| known.id == step.id) else {
            continue;
        };
        let known = &old[at];
        let types = |step: &Migrated| format!("{} to {}", step.from.name, step.to.name);
        if (known.from.fingerprint, known.to.fingerprint)
            != (step.from.fingerprint, step.to.fingerprint)
        {
            return Err(format!(
                "migration {:?} began as one from {} and is now declared from {}: leave it as it was \
                 and declare another one behind it",
                step.id,
                types(known),
                types(step)
            ));
        }
        if at < from {
            return Err(format!(
                "migration {:?} began before {:?} and is declared behind it: values pass them in the \
                 order of their declaration; keep that in which they began",
                step.id,
                old[from - 1].id
            ));
        }
        from = at + 1;
    }
    let late = new[begun..]
        .iter()
        .find(|step| old.iter().any(|known| known.id == step.id));
    late.map_or(Ok(()), |step| {
        Err(format!(
            "migration {:?} began earlier than {:?} and is declared behind it: declare new \
             migrations behind those that began",
            step.id, new[begun].id
        ))
    })
}

impl Object {
    /// Migrations that began and are not declared any more.
    pub(crate) fn retired<'a>(
        &'a self,
        declared: &'a [&'a str],
    ) -> impl Iterator<Item = &'a Migrated> {
        let gone = |begun: &&Migrated| !declared.contains(&&begun.id[..]);
        self.migrations.iter().filter(gone)
    }
}

impl DeclaredObject {
    fn with_id(&self, id: u16) -> Object {
        Object {
            id,
            kind: self.kind.clone(),
            type_name: self.type_name.clone(),
            fingerprint: self.fingerprint,
            migrations: self.migrations.clone(),
        }
    }
}

/// A readable directory name that no other module ever had.
fn directory_name(module: &str, number: u64) -> String {
    let safe: String = module
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(48)
        .collect();
    format!("{safe}.{number}")
}
