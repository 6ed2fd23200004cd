//! The ability: what the daemons of a cluster ask of their metastore.
//!
//! Relies on one implementation at a time. What must stay true: revisions are one sequence over the
//! whole store and only grow; a listing is one moment; nothing here waits for ever except a watch.

use std::future::Future;
use std::time::Duration;

use crate::error::Error;
use crate::lease::{Lease, LeaseId};
use crate::txn::{Txn, TxnOutcome};
use crate::watch::{Watch, WatchFrom};

/// A value with its place in the history of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// What was written.
    pub value: Vec<u8>,
    /// The revision that wrote it.
    pub revision: u64,
    /// The revision that made the key, after it had not existed.
    pub create: u64,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub versioned: Versioned,
}

/// Everything under a prefix at one moment, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The keys.
    pub entries: Vec<Entry>,
    /// The revision of the store at that moment.
    pub revision: u64,
}

/// Small keys, transactions on revisions, leases and watches.
pub trait Metastore: Clone + Send + Sync + 'static {
    /// Reads one key. A hint: what is decided by it is compared in a transaction.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Versioned>, Error>> + Send;

    /// Reads everything under a prefix as of one moment, however many pages that takes.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// Compares and writes, all or nothing.
    ///
    /// # Errors
    /// Nothing was changed. A write whose result is not known is an outcome, not an error.
    fn txn(&self, txn: Txn) -> impl Future<Output = Result<TxnOutcome, Error>> + Send;

    /// Follows the keys under a prefix. It never ends by itself.
    fn watch(&self, prefix: &str, from: WatchFrom) -> Watch;

    /// Makes a lease and keeps it alive for as long as a clone of the handle exists. The store may
    /// choose a longer life than asked.
    fn grant(&self, ttl: Duration) -> impl Future<Output = Result<Lease, Error>> + Send;

    /// Ends a lease at once, whoever holds it, and deletes its keys. A lease that is gone already
    /// is fine.
    fn revoke(&self, lease: LeaseId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets what keys were before this revision. Watches that ask for older changes are
    /// re-listed.
    fn compact(&self, revision: u64) -> impl Future<Output = Result<(), Error>> + Send;
}
