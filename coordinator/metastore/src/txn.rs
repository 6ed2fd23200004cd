//! A transaction: comparisons, then puts and deletes, all or nothing at one revision.
//!
//! Relies on the limits. What must stay true: a transaction that passes [`Txn::check`] is one that
//! etcd takes too, and no key is written twice in it, because etcd refuses that.

use crate::error::Error;
use crate::lease::LeaseId;
use crate::limits::{KEY_BYTES_MAX, TXN_BYTES_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX};
use crate::store::Versioned;

/// What must hold for a transaction to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key exists.
    Exists(String),
    /// The key was last written at this revision.
    Revision(String, u64),
}

impl Compare {
    /// What is compared.
    pub fn key(&self) -> &str {
        match self {
            Compare::Absent(key) | Compare::Exists(key) | Compare::Revision(key, _) => key,
        }
    }

    /// Whether it holds for what is stored.
    pub fn holds(&self, found: Option<&Versioned>) -> bool {
        match self {
            Compare::Absent(_) => found.is_none(),
            Compare::Exists(_) => found.is_some(),
            Compare::Revision(_, revision) => found.is_some_and(|f| f.revision == *revision),
        }
    }
}

/// A key with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The lease that it dies with; without one the key stays, whatever it was bound to before.
    pub lease: Option<LeaseId>,
}

/// What a delete removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One key.
    Key(String),
    /// Every key that begins so.
    Prefix(String),
}

impl Target {
    /// The key or prefix.
    pub fn text(&self) -> &str {
        match self {
            Target::Key(text) | Target::Prefix(text) => text,
        }
    }

    /// Whether it removes this key.
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Target::Key(own) => own == key,
            Target::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }

    fn overlaps(&self, other: &Target) -> bool {
        match other {
            Target::Key(key) => self.covers(key),
            Target::Prefix(prefix) => self.covers(prefix) || other.covers(self.text()),
        }
    }
}

/// Comparisons and what is written when all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Keys to write.
    pub puts: Vec<Put>,
    /// Keys to remove.
    pub deletes: Vec<Target>,
    /// Set by [`Txn::repeatable`].
    pub repeatable: bool,
}

impl Txn {
    /// Nothing yet.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Only if the key does not exist.
    pub fn absent(mut self, key: impl Into<String>) -> Txn {
        self.compares.push(Compare::Absent(key.into()));
        self
    }

    /// Only if the key exists.
    pub fn exists(mut self, key: impl Into<String>) -> Txn {
        self.compares.push(Compare::Exists(key.into()));
        self
    }

    /// Only if the key was last written at this revision.
    pub fn at_revision(mut self, key: impl Into<String>, revision: u64) -> Txn {
        self.compares.push(Compare::Revision(key.into(), revision));
        self
    }

    /// Writes a key that stays.
    pub fn put(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Txn {
        self.push(key.into(), value.into(), None)
    }

    /// Writes a key that dies with a lease.
    pub fn put_leased(
        self,
        key: impl Into<String>,
        value: impl Into<Vec<u8>>,
        lease: LeaseId,
    ) -> Txn {
        self.push(key.into(), value.into(), Some(lease))
    }

    /// Removes one key.
    pub fn delete(mut self, key: impl Into<String>) -> Txn {
        self.deletes.push(Target::Key(key.into()));
        self
    }

    /// Removes every key that begins so.
    pub fn delete_prefix(mut self, prefix: impl Into<String>) -> Txn {
        self.deletes.push(Target::Prefix(prefix.into()));
        self
    }

    /// Says that doing it twice is as good as once, also when others write in between: it is then
    /// sent again after a failure that leaves open whether it happened.
    pub fn repeatable(mut self) -> Txn {
        self.repeatable = true;
        self
    }

    fn push(mut self, key: String, value: Vec<u8>, lease: Option<LeaseId>) -> Txn {
        self.puts.push(Put { key, value, lease });
        self
    }

    /// Whether a second try cannot be done on top of a first: one of its comparisons is about a key
    /// that it writes, and no longer holds afterwards.
    ///
    /// An `Absent` guard can come to hold again when somebody deletes the key in between. Keys that
    /// are made, deleted and made again therefore name their maker in the value.
    #[cfg(feature = "etcd")]
    pub(crate) fn guards_itself(&self) -> bool {
        let puts = |key: &str| self.puts.iter().any(|put| put.key == key);
        let deletes = |key: &str| self.deletes.iter().any(|target| target.covers(key));
        self.compares.iter().any(|compare| match compare {
            Compare::Absent(key) => puts(key),
            Compare::Exists(key) => deletes(key),
            Compare::Revision(key, _) => puts(key) || deletes(key),
        })
    }

    /// Refuses what no implementation takes.
    pub(crate) fn check(&self) -> Result<(), Error> {
        const ATTEMPT: &str = "run a transaction";
        let ops = self
            .compares
            .len()
            .max(self.puts.len() + self.deletes.len());
        if ops > TXN_OPS_MAX {
            let cause = format!("{ops} operations, at most {TXN_OPS_MAX} fit; split it");
            return Err(Error::invalid(ATTEMPT, cause));
        }
        let mut bytes = 0;
        for compare in &self.compares {
            check_key(compare.key())?;
            bytes += compare.key().len();
        }
        for target in &self.deletes {
            check_key(target.text())?;
            bytes += target.text().len();
        }
        for put in &self.puts {
            check_key(&put.key)?;
            check_size(
                || format!("store {}", put.key),
                put.value.len(),
                VALUE_BYTES_MAX,
            )?;
            bytes += put.key.len() + put.value.len();
        }
        check_size(|| ATTEMPT.into(), bytes, TXN_BYTES_MAX)?;
        self.check_overlap()
    }

    fn check_overlap(&self) -> Result<(), Error> {
        let twice = |key: &str| {
            let cause = "a transaction writes a key once: etcd refuses it otherwise";
            Err(Error::invalid(format!("write {key} twice"), cause))
        };
        for (index, put) in self.puts.iter().enumerate() {
            if self.puts[..index].iter().any(|other| other.key == put.key)
                || self.deletes.iter().any(|target| target.covers(&put.key))
            {
                return twice(&put.key);
            }
        }
        for (index, target) in self.deletes.iter().enumerate() {
            if self.deletes[..index]
                .iter()
                .any(|other| other.overlaps(target))
            {
                return twice(target.text());
            }
        }
        Ok(())
    }
}

/// Refuses a key or prefix that no implementation takes.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::invalid(
            "use an empty key",
            "keys have at least one byte",
        ));
    }
    check_size(
        || format!("use the key {:.40}…", key),
        key.len(),
        KEY_BYTES_MAX,
    )
}

fn check_size(attempt: impl Fn() -> String, bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::TooLarge {
        attempt: attempt(),
        bytes,
        limit,
    })
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a write may be refused, or its result unknown"]
pub enum TxnOutcome {
    /// Every comparison held and everything was written.
    Done {
        /// The store's revision afterwards: that of every key written.
        revision: u64,
    },
    /// A comparison did not hold; nothing was written.
    Refused {
        /// The store's revision at that moment.
        revision: u64,
        /// What the compared keys held at that moment, in the order of the comparisons.
        found: Vec<Option<Versioned>>,
    },
    /// It may have happened, or may yet happen. The caller reads again and decides by what it
    /// finds; keys that name their writer make that certain.
    Unknown {
        /// Why it is not known.
        cause: String,
    },
}

impl TxnOutcome {
    /// The revision, if it was done.
    pub fn done(&self) -> Option<u64> {
        match self {
            TxnOutcome::Done { revision } => Some(*revision),
            TxnOutcome::Refused { .. } | TxnOutcome::Unknown { .. } => None,
        }
    }
}
