//! What a process has seen of the metastore: the newest version of each key that reached it.
//!
//! Relies on nothing: events may come late, twice, or after a gap that a listing closes. A view is
//! a hint; decisions on it are transactions that compare the revisions it holds. What must stay
//! true: per key it never goes back, whatever order events arrive in.

use std::collections::BTreeMap;

use crate::cluster::{ClusterView, NodeInfo};
use crate::ids::{GroupId, InstanceId, ModuleName, NodeId, OperationId, WorkerIndex};
use crate::mutants::{self, Mutant};
use crate::records::{
    GroupIsr, GroupLeader, InstanceSpec, ModuleMeta, NodeFlags, Operation, Placement, Supervisor,
    WorkerAssignment, WorkerExit, WorkerLive,
};
use crate::store::{Key, Value};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in the metastore's order.
    pub revision: u64,
    /// Which key.
    pub key: Key,
    /// Its value; none when it was removed.
    pub value: Option<Value>,
}

/// A record with the revision that wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen<'a, T> {
    /// The revision to compare with.
    pub revision: u64,
    /// The record.
    pub record: &'a T,
}

impl<T> Clone for Seen<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Seen<'_, T> {}

/// The newest that was seen of each key.
#[derive(Clone, Debug, Default)]
pub struct View {
    keys: BTreeMap<Key, (u64, Value)>,
    /// Revisions of removals since the last listing, so that a late put does not revive a key.
    removed: BTreeMap<Key, u64>,
    listed: u64,
    revision: u64,
}

macro_rules! record_at {
    (@key $key:ident) => { Key::$key };
    (@key $key:ident $($arg:ident),+) => { Key::$key($($arg.clone()),+) };
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) at $key:ident is $record:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self, $($arg: $ty),*) -> Option<Seen<'_, $record>> {
                match self.keys.get(&record_at!(@key $key $($arg),*))? {
                    (revision, Value::$key(record)) => Some(Seen { revision: *revision, record }),
                    _ => None,
                }
            }
        )*
    };
}

impl View {
    record_at! {
        /// A supervisor that runs.
        supervisor(node: &NodeId) at Supervisor is Supervisor;
        /// What an operator asked of a node.
        flags(node: &NodeId) at Flags is NodeFlags;
        /// Who placed last.
        placement() at Placement is Placement;
        /// A module.
        module(name: &ModuleName) at Module is ModuleMeta;
        /// An instance, if it is published.
        spec(name: &ModuleName, id: &InstanceId) at Spec is InstanceSpec;
        /// Where a worker is to run.
        worker(name: &ModuleName, id: &InstanceId, w: &WorkerIndex) at Worker is WorkerAssignment;
        /// A worker that runs.
        live(name: &ModuleName, id: &InstanceId, w: &WorkerIndex) at Live is WorkerLive;
        /// How a worker ended last.
        exit(name: &ModuleName, id: &InstanceId, w: &WorkerIndex) at Exit is WorkerExit;
        /// The ISR and epoch of a task group.
        isr(name: &ModuleName, id: &InstanceId, g: &GroupId) at Isr is GroupIsr;
        /// The leader of a task group.
        leader(name: &ModuleName, id: &InstanceId, g: &GroupId) at Leader is GroupLeader;
        /// An operation.
        operation(id: &OperationId) at Operation is Operation;
    }

    /// Takes a change in, unless something newer is known of its key. Answers whether it was new.
    pub fn apply(&mut self, event: Event) -> bool {
        let known = self.keys.get(&event.key).map(|(revision, _)| *revision);
        let known = known.max(self.removed.get(&event.key).copied());
        if event.revision <= known.unwrap_or(0).max(self.listed) {
            return false;
        }
        self.revision = self.revision.max(event.revision);
        match event.value {
            Some(value) => {
                self.removed.remove(&event.key);
                self.keys.insert(event.key, (event.revision, value));
            }
            None => {
                self.keys.remove(&event.key);
                self.removed.insert(event.key, event.revision);
            }
        }
        true
    }

    /// Replaces everything by a listing taken at `revision`, unless changes after it are known.
    pub fn relist(&mut self, revision: u64, keys: impl IntoIterator<Item = (Key, u64, Value)>) {
        if revision < self.revision {
            return;
        }
        self.keys = keys
            .into_iter()
            .map(|(key, at, value)| (key, (at, value)))
            .collect();
        self.removed.clear();
        self.listed = revision;
        self.revision = revision;
    }

    /// The newest revision that reached this view.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision of a key, for [`crate::store::Txn::as_seen`].
    #[must_use]
    pub fn revision_of(&self, key: &Key) -> Option<u64> {
        self.keys.get(key).map(|(revision, _)| *revision)
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &Key) -> Option<&Value> {
        self.keys.get(key).map(|(_, value)| value)
    }

    /// All keys with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.keys.iter().map(|(key, (_, value))| (key, value))
    }

    /// The assigned workers of an instance.
    pub fn workers<'a>(
        &'a self,
        name: &ModuleName,
        id: InstanceId,
    ) -> impl Iterator<Item = (WorkerIndex, Seen<'a, WorkerAssignment>)> {
        let from = Key::Worker(name.clone(), id, WorkerIndex(0));
        let to = Key::Worker(name.clone(), id, WorkerIndex(u32::MAX));
        self.keys.range(from..=to).filter_map(|entry| match entry {
            (Key::Worker(_, _, index), (revision, Value::Worker(record))) => {
                let revision = *revision;
                Some((*index, Seen { revision, record }))
            }
            _ => None,
        })
    }

    /// Operations without an outcome: what a conductor that starts takes up.
    pub fn unfinished(&self) -> impl Iterator<Item = OperationId> {
        self.entries()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Operation(id), Value::Operation(record)) => {
                    let forgotten = mutants::active(Mutant::ResumeForgotten);
                    (record.outcome.is_none() && !forgotten).then_some(*id)
                }
                _ => None,
            })
    }

    /// The number of the newest entry in the log of a module, which may be gone; 0 without any.
    #[must_use]
    pub fn log_last(&self, name: &ModuleName) -> u64 {
        let all = Key::Log(name.clone(), 0)..=Key::Log(name.clone(), u64::MAX);
        match self.keys.range(all).next_back() {
            Some((Key::Log(_, number), _)) => *number,
            _ => 0,
        }
    }

    /// The oldest entries of the log of a module, numbered up to `last`.
    #[must_use]
    pub fn log_until(&self, name: &ModuleName, last: u64) -> Vec<Key> {
        let old = Key::Log(name.clone(), 0)..=Key::Log(name.clone(), last);
        self.keys.range(old).map(|(key, _)| key.clone()).collect()
    }

    /// Operations that have an outcome, the oldest first: their ids grow with time.
    #[must_use]
    pub fn finished(&self) -> Vec<OperationId> {
        let ended = self
            .entries()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Operation(id), Value::Operation(record)) if record.outcome.is_some() => {
                    Some(*id)
                }
                _ => None,
            });
        ended.collect()
    }

    /// The modules that use `name`, other than itself.
    #[must_use]
    pub fn dependents(&self, name: &ModuleName) -> Vec<ModuleName> {
        let users = self.entries().filter_map(|(key, _)| match key {
            Key::Dependency(user, used) if used == name && user != name => Some(user.clone()),
            _ => None,
        });
        users.collect()
    }

    /// What placement looks at.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        let mut cluster = ClusterView::default();
        for (key, value) in self.entries() {
            match (key, value) {
                (Key::Supervisor(node), Value::Supervisor(record)) => {
                    let flags = self
                        .flags(node)
                        .map_or_else(Default::default, |f| *f.record);
                    let info = NodeInfo {
                        labels: record.labels.clone(),
                        leaders_allowed: !flags.leaders_disallowed,
                        draining: flags.draining,
                        cores: record.cores,
                    };
                    cluster.nodes.insert(*node, info);
                }
                (Key::Worker(name, _, _), Value::Worker(record)) => {
                    let on = cluster.running.entry(record.node).or_default();
                    *on.entry(name.clone()).or_insert(0) += 1;
                }
                _ => {}
            }
        }
        cluster
    }
}

#[cfg(test)]
mod tests;
