//! The storm's metastore: one linearizable store with revisions, leases and a log of changes.
//!
//! What is asked of it while it is down is not done. Leases may end early, and late after an
//! outage, as etcd's do (reliability §2.2).

use std::collections::BTreeMap;

use crate::store::{Compare, Key, Txn, Value, Written};
use crate::view::Event;

pub(super) struct Stored {
    pub(super) revision: u64,
    pub(super) value: Value,
    /// The life whose lease it dies with.
    lease: Option<u64>,
}

#[derive(Default)]
pub(super) struct Metastore {
    pub(super) keys: BTreeMap<Key, Stored>,
    pub(super) revision: u64,
    pub(super) log: Vec<Event>,
    /// When the lease of a life ends.
    pub(super) leases: BTreeMap<u64, u64>,
    pub(super) down: bool,
}

impl Metastore {
    pub(super) fn txn(&mut self, life: u64, txn: &Txn) -> Written {
        let holds = |compare: &Compare| match compare {
            Compare::Absent(key) => !self.keys.contains_key(key),
            Compare::Revision(key, at) => {
                let stored = self.keys.get(key);
                stored.is_some_and(|stored| stored.revision == *at)
            }
        };
        let leased = txn.puts.iter().any(|put| put.leased);
        if !txn.compares.iter().all(holds) || (leased && !self.leases.contains_key(&life)) {
            return Written::Refused;
        }
        self.revision += 1;
        let revision = self.revision;
        for target in &txn.deletes {
            let covered = self.keys.keys().filter(|key| target.covers(key));
            let keys: Vec<Key> = covered.cloned().collect();
            keys.into_iter().for_each(|key| self.remove(key));
        }
        for put in &txn.puts {
            let lease = put.leased.then_some(life);
            let value = put.value.clone();
            let stored = Stored {
                revision,
                value: value.clone(),
                lease,
            };
            self.keys.insert(put.key.clone(), stored);
            self.log.push(Event {
                revision,
                key: put.key.clone(),
                value: Some(value),
            });
        }
        Written::Done { revision }
    }

    fn remove(&mut self, key: Key) {
        self.keys.remove(&key);
        self.log.push(Event {
            revision: self.revision,
            key,
            value: None,
        });
    }

    /// Ends a lease, with everything that hangs on it.
    pub(super) fn revoke(&mut self, life: u64) {
        if self.leases.remove(&life).is_none() {
            return;
        }
        self.revision += 1;
        let own = |stored: &Stored| stored.lease == Some(life);
        let keys = self.keys.iter().filter(|(_, stored)| own(stored));
        let keys: Vec<Key> = keys.map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }

    /// A listing: every key with its revision.
    pub(super) fn list(&self) -> Vec<(Key, u64, Value)> {
        let keys = self.keys.iter();
        keys.map(|(key, stored)| (key.clone(), stored.revision, stored.value.clone()))
            .collect()
    }
}

/// Nothing but a text for traces.
pub(super) fn describe(txn: &Txn) -> String {
    let puts = txn.puts.iter().map(|put| format!("+{}", put.key));
    let deletes = txn.deletes.iter().map(|target| format!("-{target}"));
    puts.chain(deletes).collect::<Vec<String>>().join(" ")
}
