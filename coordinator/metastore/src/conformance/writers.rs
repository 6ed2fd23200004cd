//! Writers that count together, and the check of their history: no update is lost, none is done
//! twice, whatever the store and the network do meanwhile.
//!
//! Relies on every value naming its writer and call, so that a result that was not known can be
//! told afterwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Metastore, Versioned};
use crate::txn::{Txn, TxnOutcome};
use crate::watch::{Watch, WatchEvent, WatchFrom};

/// What one writer knows of its calls. A call is named by its number.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// Its number.
    pub id: u32,
    /// Every transaction sent.
    pub calls: u64,
    /// Calls that were done, with the count they wrote.
    pub done: BTreeMap<u64, u64>,
    /// Calls that lost the race.
    pub refused: BTreeSet<u64>,
    /// Calls whose result was not known.
    pub unknown: BTreeSet<u64>,
    /// Calls that failed for certain.
    pub failed: BTreeSet<u64>,
}

/// A value of the counter: what it counts to, who wrote it, in which call.
type Value = (u64, u32, u64);

fn parse(versioned: &Versioned) -> Value {
    let text = std::str::from_utf8(&versioned.value).expect("text");
    let mut parts = text.split(' ');
    let mut part = || {
        parts
            .next()
            .expect("three parts")
            .parse()
            .expect("a number")
    };
    (part(), part() as u32, part())
}

/// Counts up with compare-and-swap for as long as `more` says so, given the calls done.
pub async fn count<M: Metastore>(
    store: &M,
    key: &str,
    id: u32,
    more: impl Fn(&Writer) -> bool,
) -> Writer {
    let mut writer = Writer {
        id,
        ..Writer::default()
    };
    let mut known: Option<Option<Versioned>> = None;
    while more(&writer) {
        let current = match known.take() {
            Some(current) => current,
            None => match store.get(key).await {
                Ok(current) => current,
                Err(_) => continue,
            },
        };
        let next = current.as_ref().map_or(0, |current| parse(current).0) + 1;
        let call = writer.calls;
        writer.calls += 1;
        let value = format!("{next} {id} {call}");
        let txn = match &current {
            None => Txn::new().absent(key),
            Some(current) => Txn::new().at_revision(key, current.revision),
        };
        match store.txn(txn.put(key, value.clone())).await {
            Ok(TxnOutcome::Done { revision }) => {
                writer.done.insert(call, next);
                known = Some(Some(Versioned {
                    value: value.into_bytes(),
                    revision,
                    create: current.map_or(revision, |current| current.create),
                }));
            }
            Ok(TxnOutcome::Refused { mut found, .. }) => {
                writer.refused.insert(call);
                known = found.pop();
            }
            Ok(TxnOutcome::Unknown { .. }) => {
                writer.unknown.insert(call);
            }
            Err(_) => {
                writer.failed.insert(call);
            }
        }
    }
    writer
}

/// Follows the counter.
#[derive(Debug)]
pub struct Observer {
    watch: Watch,
    seen: Vec<Value>,
    last: u64,
    /// How often the store could not be followed.
    pub outages: u64,
}

impl Observer {
    /// Follows from now on; the counter must not exist yet.
    pub async fn new<M: Metastore>(store: &M, key: &str) -> Observer {
        let mut watch = store.watch(key, WatchFrom::Listing);
        let Ok(WatchEvent::Relisted(listing)) = watch.next().await else {
            panic!("a watch begins with a listing");
        };
        assert!(listing.entries.is_empty(), "the counter exists already");
        Observer {
            watch,
            seen: Vec::new(),
            last: listing.revision,
            outages: 0,
        }
    }

    /// Follows until the counter has come so far.
    pub async fn follow_to(&mut self, count: u64) {
        while self.seen.last().map_or(0, |value| value.0) < count {
            match self.watch.next().await {
                Err(_) => self.outages += 1,
                Ok(WatchEvent::Put(entry)) => {
                    let revision = entry.versioned.revision;
                    assert!(revision > self.last, "{revision} seen after {}", self.last);
                    self.last = revision;
                    self.seen.push(parse(&entry.versioned));
                }
                Ok(other) => panic!("nothing but puts happened: {other:?}"),
            }
        }
    }
}

/// What a history came to.
#[derive(Debug)]
pub struct Checked {
    /// What the counter counts to.
    pub count: u64,
    /// Calls whose result was not known and that had happened.
    pub unknown_done: usize,
    /// Calls whose result was not known and that had not.
    pub unknown_not_done: usize,
}

/// Checks that the calls of the writers and what was observed make one history.
///
/// # Panics
/// They do not: an update was lost, done twice, done although it was refused, or not observed.
pub fn check(writers: &[Writer], observer: &Observer) -> Checked {
    let mut made_by: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for (index, (count, id, call)) in observer.seen.iter().enumerate() {
        assert_eq!(*count, index as u64 + 1, "an update was lost or done twice");
        let before = made_by.insert((*id, *call), *count);
        assert_eq!(before, None, "call {call} of writer {id} was done twice");
    }
    let mut unknown_not_done = 0;
    let mut unknown_done = 0;
    for writer in writers {
        for (call, count) in &writer.done {
            let seen = made_by.remove(&(writer.id, *call));
            assert_eq!(
                seen,
                Some(*count),
                "call {call} of writer {} was done",
                writer.id
            );
        }
        for call in &writer.unknown {
            match made_by.remove(&(writer.id, *call)) {
                Some(_) => unknown_done += 1,
                None => unknown_not_done += 1,
            }
        }
    }
    assert!(
        made_by.is_empty(),
        "done, although it was said that it was not: {made_by:?}"
    );
    Checked {
        count: observer.seen.len() as u64,
        unknown_done,
        unknown_not_done,
    }
}

pub async fn no_update_of_a_counter_is_lost<M: Metastore>(store: M, at: String) {
    const WRITERS: u32 = 6;
    const EACH: usize = 25;
    let key = format!("{at}counter");
    let mut observer = Observer::new(&store, &key).await;
    let running: Vec<_> = (0..WRITERS)
        .map(|id| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(
                async move { count(&store, &key, id, |writer| writer.done.len() < EACH).await },
            )
        })
        .collect();
    let mut writers = Vec::new();
    for writer in running {
        writers.push(writer.await.expect("writers end well"));
    }
    let current = store.get(&key).await.expect("get").expect("it was counted");
    observer.follow_to(parse(&current).0).await;
    let checked = check(&writers, &observer);
    assert!(checked.count >= u64::from(WRITERS) * EACH as u64);
}
