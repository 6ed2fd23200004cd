//! What an embedded metastore keeps: keys, leases, and recent history. Pure.
//!
//! Relies on transactions that were checked. What must stay true: `plan` changes nothing and
//! `apply` cannot fail, so that a change can be made durable in between; revisions grow by one for
//! each change, and a change that changes nothing takes no revision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::error::Error;
use crate::lease::LeaseId;
use crate::store::{Entry, Listing, Versioned};
use crate::txn::{Put, Target, Txn};
use crate::watch::WatchEvent;

/// How many events are kept for watches that lag.
const HISTORY_EVENTS_MAX: usize = 8192;

/// What is written at one revision, as it goes to disk.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Change {
    /// Its revision.
    pub revision: u64,
    /// Keys written.
    pub puts: Vec<ChangePut>,
    /// Keys removed; they exist.
    pub deletes: Vec<String>,
}

/// A key that a change writes.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct ChangePut {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The lease it dies with.
    pub lease: Option<i64>,
}

impl Change {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// What becomes of a transaction.
pub enum Planned {
    /// Every comparison holds; this is to be made durable and applied.
    Change(Change),
    /// One does not; what the compared keys hold.
    Refused(Vec<Option<Versioned>>),
}

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Value and revisions.
    pub versioned: Versioned,
    /// The lease it dies with.
    pub lease: Option<LeaseId>,
}

/// Events for a watch.
#[derive(Debug, PartialEq, Eq)]
pub struct Followed {
    /// In order.
    pub events: Vec<WatchEvent>,
    /// The first revision that was not looked at.
    pub next: u64,
    /// Whether there is more already.
    pub more: bool,
}

/// Keys, leases and recent history.
#[derive(Debug)]
pub struct State {
    entries: BTreeMap<String, Stored>,
    revision: u64,
    leases: BTreeMap<LeaseId, BTreeSet<String>>,
    history: VecDeque<WatchEvent>,
    /// The first revision whose events are all in `history`.
    history_from: u64,
}

impl State {
    /// Empty, at revision 1 as an empty etcd is.
    pub fn new() -> State {
        State {
            entries: BTreeMap::new(),
            revision: 1,
            leases: BTreeMap::new(),
            history: VecDeque::new(),
            history_from: 2,
        }
    }

    /// That of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One key.
    pub fn get(&self, key: &str) -> Option<Versioned> {
        self.entries.get(key).map(|stored| stored.versioned.clone())
    }

    /// Every key, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Stored)> {
        self.entries.iter()
    }

    /// Everything under a prefix.
    pub fn list(&self, prefix: &str) -> Listing {
        let entries = self.under(prefix).map(|(key, stored)| Entry {
            key: key.clone(),
            versioned: stored.versioned.clone(),
        });
        Listing {
            entries: entries.collect(),
            revision: self.revision,
        }
    }

    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Stored)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.entries.range::<str, _>(from);
        keys.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// What a transaction comes to. Changes nothing.
    pub fn plan(&self, txn: &Txn) -> Result<Planned, Error> {
        let stored = |key: &str| self.entries.get(key).map(|stored| &stored.versioned);
        if !txn
            .compares
            .iter()
            .all(|compare| compare.holds(stored(compare.key())))
        {
            let found = txn.compares.iter().map(|compare| self.get(compare.key()));
            return Ok(Planned::Refused(found.collect()));
        }
        for Put { key, lease, .. } in &txn.puts {
            if let Some(lease) = lease.filter(|lease| !self.leases.contains_key(lease)) {
                let attempt = format!("store {key}");
                return Err(Error::LeaseGone { attempt, lease });
            }
        }
        let mut deletes = Vec::new();
        for target in &txn.deletes {
            match target {
                Target::Key(key) if self.entries.contains_key(key) => deletes.push(key.clone()),
                Target::Key(_) => {}
                Target::Prefix(prefix) => {
                    deletes.extend(self.under(prefix).map(|(key, _)| key.clone()));
                }
            }
        }
        let puts = txn.puts.iter().map(|put| ChangePut {
            key: put.key.clone(),
            value: put.value.clone(),
            lease: put.lease.map(|lease| lease.0),
        });
        Ok(Planned::Change(Change {
            revision: self.revision + 1,
            puts: puts.collect(),
            deletes,
        }))
    }

    /// The change that removes these keys.
    pub fn removal(&self, keys: BTreeSet<String>) -> Change {
        Change {
            revision: self.revision + 1,
            puts: Vec::new(),
            deletes: keys.into_iter().collect(),
        }
    }

    /// Does what was planned, or read back from disk.
    pub fn apply(&mut self, change: Change) {
        let Change {
            revision,
            puts,
            deletes,
        } = change;
        assert!(revision > self.revision, "revisions only grow");
        self.revision = revision;
        for key in deletes {
            self.unbind(&key);
            self.entries.remove(&key);
            self.history.push_back(WatchEvent::Delete { key, revision });
        }
        for ChangePut { key, value, lease } in puts {
            self.unbind(&key);
            let create = self
                .entries
                .get(&key)
                .map_or(revision, |old| old.versioned.create);
            let versioned = Versioned {
                value,
                revision,
                create,
            };
            let entry = Entry {
                key: key.clone(),
                versioned: versioned.clone(),
            };
            self.insert(key, versioned, lease.map(LeaseId));
            self.history.push_back(WatchEvent::Put(entry));
        }
        self.bound_history();
    }

    /// Puts a key there as it was stored before.
    pub fn restore(&mut self, key: String, versioned: Versioned, lease: Option<LeaseId>) {
        self.insert(key, versioned, lease);
    }

    /// Sets the revision that a stored copy had.
    pub fn restore_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn insert(&mut self, key: String, versioned: Versioned, lease: Option<LeaseId>) {
        if let Some(lease) = lease {
            self.leases.entry(lease).or_default().insert(key.clone());
        }
        self.entries.insert(key, Stored { versioned, lease });
    }

    fn unbind(&mut self, key: &str) {
        let lease = self.entries.get(key).and_then(|stored| stored.lease);
        if let Some(keys) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            keys.remove(key);
        }
    }

    /// A lease that keys may be bound to.
    pub fn begin_lease(&mut self, lease: LeaseId) {
        self.leases.insert(lease, BTreeSet::new());
    }

    /// Ends a lease; its keys are to be removed.
    pub fn end_lease(&mut self, lease: LeaseId) -> BTreeSet<String> {
        self.leases.remove(&lease).unwrap_or_default()
    }

    /// The keys of all leases, which end with this.
    pub fn leased_keys(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.leases)
            .into_values()
            .flatten()
            .collect()
    }

    /// Events at or after a revision, whole revisions, about as many as asked; or a listing where
    /// history does not reach back so far.
    pub fn follow(&self, prefix: &str, from: u64, limit: usize) -> Followed {
        let ahead = self.revision + 1;
        if from < self.history_from {
            return Followed {
                events: vec![WatchEvent::Relisted(self.list(prefix))],
                next: ahead,
                more: false,
            };
        }
        let start = self
            .history
            .partition_point(|event| event.revision() < from);
        let mut events = Vec::new();
        for event in self.history.range(start..) {
            let last = events.last().map_or(0, WatchEvent::revision);
            if events.len() >= limit && event.revision() > last {
                return Followed {
                    events,
                    next: last + 1,
                    more: true,
                };
            }
            let (WatchEvent::Put(Entry { key, .. }) | WatchEvent::Delete { key, .. }) = event
            else {
                continue;
            };
            if key.starts_with(prefix) {
                events.push(event.clone());
            }
        }
        Followed {
            events,
            next: from.max(ahead),
            more: false,
        }
    }

    /// Forgets events before a revision.
    pub fn compact_history(&mut self, revision: u64) -> Result<(), Error> {
        if revision > self.revision {
            let attempt = format!("compact at revision {revision}");
            let cause = format!("the store is at revision {}", self.revision);
            return Err(Error::invalid(attempt, cause));
        }
        // What stood at the revision itself may have been a delete, which leaves no trace.
        self.history_from = self.history_from.max(revision + 1);
        while self
            .history
            .front()
            .is_some_and(|event| event.revision() < self.history_from)
        {
            self.history.pop_front();
        }
        Ok(())
    }

    /// Forgets all events.
    pub fn forget_history(&mut self) {
        self.history.clear();
        self.history_from = self.revision + 1;
    }

    fn bound_history(&mut self) {
        while self.history.len() > HISTORY_EVENTS_MAX {
            let Some(first) = self.history.front().map(WatchEvent::revision) else {
                return;
            };
            // Whole revisions, or a watch would miss the rest of one.
            self.history_from = first + 1;
            while self
                .history
                .front()
                .is_some_and(|event| event.revision() == first)
            {
                self.history.pop_front();
            }
        }
    }
}
