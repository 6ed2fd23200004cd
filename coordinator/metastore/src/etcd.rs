//! The metastore of a cluster: etcd 3.4 or later.
//!
//! Relies on `members` (which one is asked, and again whom), `failure` (what an error leaves open),
//! `following` (watches) and `renewal` (leases). Must be used in a tokio runtime. What must stay
//! true: a write is sent again only where that cannot do it twice; what is left open is said to be
//! unknown; and every member is asked for its release before anything else.

mod config;
mod failure;
mod following;
mod members;
mod renewal;
#[cfg(test)]
mod tests;
mod version;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use etcd_client as api;

use crate::clock::Moment;
use crate::error::Error;
use crate::lease::{Lease, LeaseId, Shared};
use crate::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};
use crate::store::{Entry, Listing, Metastore, Versioned};
use crate::txn::{Compare, Target, Txn, TxnOutcome, check_key};
use crate::watch::{Watch, WatchFrom};
pub use config::{EtcdConfig, EtcdTls, Secret};
use failure::{Final, Given, Repeat};
use members::Members;

/// Keys of a page of a listing.
const PAGE_KEYS: i64 = 500;
/// How often a listing begins again because its history was compacted while it was read.
const LISTING_ATTEMPTS: usize = 5;

/// A connection to the members of an etcd. Clones share it.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    members: Arc<Members>,
    leases: Mutex<BTreeMap<LeaseId, Weak<Shared>>>,
}

impl Etcd {
    /// Connects to the first member that answers. The others may be away.
    ///
    /// # Errors The settings make no sense, no member answers in time, or one runs a release that
    /// must not be used.
    pub async fn connect(config: EtcdConfig) -> Result<Etcd, Error> {
        config.check()?;
        let members = Arc::new(Members::new(config));
        let attempt = || "connect to etcd".to_owned();
        let call = members.call(
            Repeat::Always,
            |mut client| async move { client.status().await },
        );
        call.await
            .map_err(|given| members.error(attempt(), given))?;
        Ok(Etcd(Arc::new(Inner {
            members,
            leases: Mutex::default(),
        })))
    }

    fn members(&self) -> &Members {
        &self.0.members
    }

    /// One page from a key on, as of a revision if it is given, and whether there is more.
    async fn page(
        &self,
        from: &[u8],
        prefix: &str,
        revision: Option<u64>,
        keys: i64,
    ) -> Result<(Listing, bool), Given> {
        let mut options = api::GetOptions::new()
            .with_range(prefix_end(prefix))
            .with_limit(keys);
        if let Some(revision) = revision {
            options = options.with_revision(revision as i64);
        }
        let call = self.members().call(Repeat::Always, |client| {
            let (from, options) = (from.to_vec(), options.clone());
            async move { members::kv(&client).get(from, Some(options)).await }
        });
        let (response, _) = call.await?;
        let listing = Listing {
            entries: response.kvs().iter().filter_map(entry).collect(),
            revision: revision.unwrap_or(header_revision(response.header())),
        };
        Ok((listing, response.more()))
    }

    /// The whole of a prefix, or that its history was compacted while it was read.
    async fn pages(&self, prefix: &str) -> Result<Listing, Given> {
        let mut whole: Option<Listing> = None;
        let mut from = prefix.as_bytes().to_vec();
        let mut keys = PAGE_KEYS;
        loop {
            let revision = whole.as_ref().map(|listing| listing.revision);
            let (page, more) = match self.page(&from, prefix, revision, keys).await {
                Err(Given::Final(Final::TooLarge)) if keys > 1 => {
                    keys /= 2;
                    continue;
                }
                page => page?,
            };
            if let Some(last) = page.entries.last() {
                from = [last.key.as_bytes(), &[0]].concat();
            }
            match &mut whole {
                None => whole = Some(page),
                Some(whole) => whole.entries.extend(page.entries),
            }
            if let Some(whole) = whole.take_if(|_| !more) {
                return Ok(whole);
            }
        }
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, BTreeMap<LeaseId, Weak<Shared>>> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metastore for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        let call = self.members().call(Repeat::Always, |client| {
            let key = key.to_owned();
            async move { members::kv(&client).get(key, None).await }
        });
        match call.await {
            Ok((response, _)) => Ok(response.kvs().first().and_then(entry).map(|e| e.versioned)),
            Err(given) => Err(self.members().error(format!("read {key}"), given)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        check_key(prefix)?;
        let mut last = Given::Final(Final::Compacted);
        for _ in 0..LISTING_ATTEMPTS {
            match self.pages(prefix).await {
                Err(Given::Final(Final::Compacted)) => {}
                Ok(listing) => return Ok(listing),
                Err(given) => {
                    last = given;
                    break;
                }
            }
        }
        Err(self.members().error(format!("list {prefix}"), last))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        txn.check()?;
        let repeat = match txn.repeatable {
            true => Repeat::Always,
            // Done twice it cannot be; but a refusal may be the first attempt's own doing.
            false if txn.guards_itself() => Repeat::Doubting,
            false => Repeat::IfNotSent,
        };
        let lease = txn.puts.iter().find_map(|put| put.lease);
        let request = request(&txn);
        let call = self.members().call(repeat, |client| {
            let request = request.clone();
            async move { members::kv(&client).txn(request).await }
        });
        let attempt = || match txn.puts.first() {
            Some(put) => format!("store {} and {} more", put.key, txn.puts.len() - 1),
            None => "run a transaction".into(),
        };
        match call.await {
            Ok((response, _)) if response.succeeded() => Ok(TxnOutcome::Done {
                revision: header_revision(response.header()),
            }),
            Ok((_, Some(cause))) if repeat == Repeat::Doubting => Ok(TxnOutcome::Unknown { cause }),
            Ok((response, _)) => Ok(TxnOutcome::Refused {
                revision: header_revision(response.header()),
                found: found(&response),
            }),
            Err(Given::Unknown(cause)) => Ok(TxnOutcome::Unknown { cause }),
            Err(Given::Final(Final::LeaseGone)) => Err(Error::LeaseGone {
                attempt: attempt(),
                lease: lease.unwrap_or(LeaseId(0)),
            }),
            Err(given) => Err(self.members().error(attempt(), given)),
        }
    }

    fn watch(&self, prefix: &str, from: WatchFrom) -> Watch {
        following::watch(self.clone(), prefix.to_owned(), from)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let ttl = ttl.clamp(LEASE_TTL_MIN, LEASE_TTL_MAX);
        let seconds = ttl.as_millis().div_ceil(1000) as i64;
        // One that was granted but not answered ends by itself.
        let call = self.members().call(Repeat::Always, |client| async move {
            let sent = Moment::now();
            let granted = client.lease_client().grant(seconds, None).await?;
            Ok((sent, granted))
        });
        let ((sent, granted), _) = call
            .await
            .map_err(|given| self.members().error("grant a lease".into(), given))?;
        let id = LeaseId(granted.id());
        let ttl = Duration::from_secs(granted.ttl().max(seconds) as u64);
        let shared = Arc::new(Shared::new(id, ttl, renewal::valid_until(sent, ttl)));
        let mut leases = self.leases();
        leases.retain(|_, lease| lease.strong_count() > 0);
        leases.insert(id, Arc::downgrade(&shared));
        let keeper = renewal::keep(self.0.members.clone(), shared.clone());
        Ok(Lease::new(shared, keeper))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        // First: whoever sees the keys gone must not find the lease held.
        let own = self.leases().get(&lease).and_then(Weak::upgrade);
        if let Some(own) = own {
            own.on_lost();
        }
        let call = self.members().call(Repeat::Always, |client| async move {
            client.lease_client().revoke(lease.0).await
        });
        match call.await {
            Ok(_) | Err(Given::Final(Final::LeaseGone)) => Ok(()),
            Err(given) => Err(self.members().error(format!("revoke {lease}"), given)),
        }
    }

    async fn compact(&self, revision: u64) -> Result<(), Error> {
        let call = self.members().call(Repeat::Always, |client| async move {
            members::kv(&client).compact(revision as i64, None).await
        });
        match call.await {
            Ok(_) | Err(Given::Final(Final::Compacted)) => Ok(()),
            Err(given) => Err(self
                .members()
                .error(format!("compact at revision {revision}"), given)),
        }
    }
}

/// The first key after all that begin with a prefix.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Every key there is, as etcd spells it.
    vec![0]
}

/// A key of ours; a key that is not text is somebody else's.
fn entry(kv: &api::KeyValue) -> Option<Entry> {
    Some(Entry {
        key: String::from_utf8(kv.key().to_vec()).ok()?,
        versioned: Versioned {
            value: kv.value().to_vec(),
            revision: kv.mod_revision() as u64,
            create: kv.create_revision() as u64,
        },
    })
}

fn header_revision(header: Option<&api::ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.revision() as u64)
}

fn request(txn: &Txn) -> api::Txn {
    use api::CompareOp::{Equal, Greater};
    let compares = txn.compares.iter().map(|compare| match compare {
        Compare::Absent(key) => api::Compare::create_revision(key.as_str(), Equal, 0),
        Compare::Exists(key) => api::Compare::create_revision(key.as_str(), Greater, 0),
        Compare::Revision(key, revision) => {
            api::Compare::mod_revision(key.as_str(), Equal, *revision as i64)
        }
    });
    let puts = txn.puts.iter().map(|put| {
        let leased = |lease: LeaseId| api::PutOptions::new().with_lease(lease.0);
        api::TxnOp::put(put.key.as_str(), put.value.clone(), put.lease.map(leased))
    });
    let deletes = txn.deletes.iter().map(|target| match target {
        Target::Key(key) => api::TxnOp::delete(key.as_str(), None),
        Target::Prefix(prefix) => {
            let range = api::DeleteOptions::new().with_range(prefix_end(prefix));
            api::TxnOp::delete(prefix.as_str(), Some(range))
        }
    });
    let reads = txn
        .compares
        .iter()
        .map(|compare| api::TxnOp::get(compare.key(), None));
    api::Txn::new()
        .when(compares.collect::<Vec<_>>())
        .and_then(puts.chain(deletes).collect::<Vec<_>>())
        .or_else(reads.collect::<Vec<_>>())
}

/// What the compared keys of a refused transaction hold.
fn found(response: &api::TxnResponse) -> Vec<Option<Versioned>> {
    let responses = response.op_responses().into_iter();
    let found = responses.map(|response| match response {
        api::TxnOpResponse::Get(got) => got.kvs().first().and_then(entry).map(|e| e.versioned),
        _ => None,
    });
    found.collect()
}

impl Debug for Etcd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Etcd")
            .field(&self.members().target())
            .finish()
    }
}
