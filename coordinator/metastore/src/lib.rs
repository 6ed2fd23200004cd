//! The metastore of a cluster: small keys, transactions on revisions, leases and watches.
//!
//! Relies on etcd (feature `etcd`) or on one file of one process (`embedded`); both pass the suite
//! in `conformance`. Read in this order: `store` (the ability), `txn`, `watch` and `lease` (its
//! words), `key` and `value` (what a cluster keeps, appendix A of the specification), then
//! `embedded` and `etcd`. What must stay true: this crate knows no policy; a read or a watch is a
//! hint, every decision is a transaction that compares revisions; and a write has three results –
//! done, refused, unknown – never two.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod etcd_server;
mod key;
mod lease;
pub mod limits;
mod store;
mod txn;
pub mod value;
mod watch;

pub use embedded::Embedded;
pub use error::Error;
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdConfig, EtcdTls, Secret};
pub use etcd_server::{EtcdMember, EtcdServer, PROGRAM as ETCD_PROGRAM, free_ports};
pub use key::{Key, KeyError, Level, Scope, Space};
pub use lease::{Lease, LeaseId, LeaseState};
pub use store::{Entry, Listing, Metastore, Versioned};
pub use txn::{Compare, Put, Target, Txn, TxnOutcome};
pub use watch::{Watch, WatchEvent, WatchFrom};
