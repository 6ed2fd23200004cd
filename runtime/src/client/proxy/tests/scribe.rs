//! A module that writes maps, sets, lists and values as its records say, and what follows them.
//!
//! What must stay true: every change that is told leads from its old value to its new one, and
//! begins where the one before ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::FutureExt;

use crate::pstate::{LocalPState, PState};
use crate::schema::{List, Map, Set};
use crate::{
    Change, Cluster, Depot, Diff, Module, Partition, Proxied, Proxy, ProxyStatus, Setup,
    SourceOptions, Task,
};

/// What to do, under which key, with which element, and a value.
pub(super) type Order = (u8, u8, u8, u64);

pub(super) const ORDERS: Depot<Order> = Depot::named("*orders");
pub(super) const LAST: PState<Map<u8, u64>> = PState::named("$$last");
pub(super) const TABLE: PState<Map<u8, Map<u8, u64>>> = PState::named("$$table");
pub(super) const GROUP: PState<Map<u8, Set<u8>>> = PState::named("$$group");
pub(super) const ROLL: PState<Map<u8, List<u64>>> = PState::named("$$roll");

/// How many kinds of orders there are.
pub(super) const KINDS: u64 = 10;

/// Writes in a stream, or in microbatches.
pub(super) struct Scribe {
    pub(super) exact: bool,
}

#[derive(Clone, Copy)]
struct Books {
    last: LocalPState<Map<u8, u64>>,
    table: LocalPState<Map<u8, Map<u8, u64>>>,
    group: LocalPState<Map<u8, Set<u8>>>,
    roll: LocalPState<Map<u8, List<u64>>>,
}

impl Books {
    fn obey(self, task: &Task, (what, at, element, value): Order) {
        let (table, group, roll) = (self.table.key(&at), self.group.key(&at), self.roll.key(&at));
        match what {
            0 => self.last.key(&at).set(task, value),
            1 => self.last.key(&at).remove(task),
            2 => table.key(&element).set(task, value),
            3 => table.remove(task, &element),
            4 => group.insert(task, &element),
            5 => group.remove(task, &element),
            6 => roll.append(task, value),
            7 => drop(roll.remove_last(task)),
            8 => {
                let len = roll.len(task);
                if len > 0 {
                    roll.at(value % len).set(task, value);
                }
            }
            _ if value.is_multiple_of(4) => {
                table.clear(task);
                group.clear(task);
                roll.clear(task);
            }
            _ => table.range(element..element.saturating_add(2)).remove(task),
        }
    }
}

impl Module for Scribe {
    fn define(&self, m: &mut Setup) {
        m.depot(ORDERS, Partition::hash_by(|order: &Order| order.1));
        if self.exact {
            let options = SourceOptions::new().start_from_beginning();
            let mut scribe = m.microbatch("scribe");
            let books = Books {
                last: scribe.pstate(LAST),
                table: scribe.pstate(TABLE),
                group: scribe.pstate(GROUP),
                roll: scribe.pstate(ROLL),
            };
            let source = scribe.source_with(ORDERS, options);
            source.each(move |task, order| books.obey(task, order));
        } else {
            let options = SourceOptions::new().start_from_beginning();
            let mut scribe = m.stream("scribe");
            let books = Books {
                last: scribe.pstate(LAST),
                table: scribe.pstate(TABLE),
                group: scribe.pstate(GROUP),
                roll: scribe.pstate(ROLL),
            };
            let source = scribe.source_with(ORDERS, options);
            source.each(move |task, order| books.obey(task, order));
        }
    }
}

/// A proxy, and the last value that it told.
pub(super) struct Follower<T, K, V> {
    pub(super) proxy: Proxy<T, K, V>,
    last: Option<Arc<T>>,
    /// What a diff makes of a value; `None` when it does not say.
    after: fn(&T, &Diff<K, V>) -> Option<T>,
    pub(super) told: u64,
    pub(super) resyncs: u64,
}

impl<T: PartialEq + std::fmt::Debug, K: std::fmt::Debug, V: std::fmt::Debug> Follower<T, K, V> {
    /// Reads what is there to be read, and checks it.
    pub(super) fn read(&mut self, seed: u64) {
        while let Some(Some(change)) = self.proxy.next().now_or_never() {
            let Change { new, diff, old } = change;
            assert_eq!(
                old, self.last,
                "seed {seed}: a change is missing before {diff:?}"
            );
            let made = old.as_ref().and_then(|old| (self.after)(old, &diff));
            if let Some(made) = made {
                assert_eq!(made, *new, "seed {seed}: {diff:?} of {old:?}");
            }
            self.told += 1;
            self.resyncs += u64::from(matches!(diff, Diff::Resync));
            self.last = Some(new);
        }
        let status = self.proxy.status();
        assert_eq!(
            status,
            ProxyStatus::Active,
            "seed {seed}: {:?}",
            self.proxy.error()
        );
    }
}

/// One follower of every kind of path under one key.
pub(super) struct Followers {
    pub(super) last: Follower<Option<u64>, (), Option<u64>>,
    pub(super) table: Follower<Vec<(u8, u64)>, u8, u64>,
    pub(super) part: Follower<Vec<(u8, u64)>, u8, u64>,
    pub(super) first: Follower<Vec<(u8, u64)>, u8, u64>,
    pub(super) size: Follower<u64, (), u64>,
    pub(super) group: Follower<Vec<u8>, u8, ()>,
    pub(super) roll: Follower<Vec<u64>, u64, u64>,
}

async fn follow<S: crate::Root, P: Proxied + Clone>(
    cluster: &Cluster,
    pstate: PState<S>,
    path: P,
    after: fn(&P::Output, &Diff<P::Key, P::Value>) -> Option<P::Output>,
) -> Follower<P::Output, P::Key, P::Value>
where
    P::Output: Send + Sync,
{
    let client = cluster.pstate(pstate);
    // While a machine has no power there is nothing to follow.
    let proxy = loop {
        match client.proxy(path.clone()).await {
            Ok(proxy) => break proxy,
            Err(error) => assert!(error.is_retryable(), "{error:#}"),
        }
        cluster.sleep(std::time::Duration::from_millis(10)).await;
    };
    Follower {
        proxy,
        last: None,
        after,
        told: 0,
        resyncs: 0,
    }
}

impl Followers {
    pub(super) async fn of(cluster: &Cluster, at: u8) -> Followers {
        let (table, roll) = (TABLE.key(&at), ROLL.key(&at));
        Followers {
            last: follow(cluster, LAST, LAST.key(&at), after_one).await,
            part: follow(cluster, TABLE, table.range(2..5), after_map).await,
            first: follow(cluster, TABLE, table.first_n(3), after_map).await,
            size: follow(cluster, TABLE, table.select_len(), after_one).await,
            table: follow(cluster, TABLE, table.all().descending(), after_descending).await,
            group: follow(cluster, GROUP, GROUP.key(&at).all(), after_set).await,
            roll: follow(cluster, ROLL, roll.all(), after_list).await,
        }
    }

    pub(super) fn read(&mut self, seed: u64) {
        self.last.read(seed);
        self.table.read(seed);
        self.part.read(seed);
        self.first.read(seed);
        self.size.read(seed);
        self.group.read(seed);
        self.roll.read(seed);
    }

    /// Whether every value is what a select answers now.
    pub(super) async fn agree(&self, cluster: &Cluster, at: u8) -> crate::Result<bool> {
        let table = TABLE.key(&at);
        let (tables, groups) = (cluster.pstate(TABLE), cluster.pstate(GROUP));
        let (lasts, rolls) = (cluster.pstate(LAST), cluster.pstate(ROLL));
        Ok(*self.last.proxy.get() == lasts.select(LAST.key(&at)).await?
            && *self.table.proxy.get() == tables.select(table.all().descending()).await?
            && *self.part.proxy.get() == tables.select(table.range(2..5)).await?
            && *self.first.proxy.get() == tables.select(table.first_n(3)).await?
            && *self.size.proxy.get() == tables.select(table.select_len()).await?
            && *self.group.proxy.get() == groups.select(GROUP.key(&at).all()).await?
            && *self.roll.proxy.get() == rolls.select(ROLL.key(&at).all()).await?)
    }

    pub(super) fn told(&self) -> u64 {
        let maps = self.table.told + self.part.told + self.first.told;
        self.last.told + maps + self.size.told + self.group.told + self.roll.told
    }
}

fn after_one<V: Clone>(_: &V, diff: &Diff<(), V>) -> Option<V> {
    match diff {
        Diff::NewValue { value } => Some(value.clone()),
        Diff::Resync => None,
        other => panic!(
            "a value does not change by {:?}",
            std::mem::discriminant(other)
        ),
    }
}

fn after_map(old: &Vec<(u8, u64)>, diff: &Diff<u8, u64>) -> Option<Vec<(u8, u64)>> {
    let mut rows: BTreeMap<u8, u64> = old.iter().copied().collect();
    change_map(&mut rows, diff).then(|| rows.into_iter().collect())
}

fn after_descending(old: &Vec<(u8, u64)>, diff: &Diff<u8, u64>) -> Option<Vec<(u8, u64)>> {
    let mut rows = after_map(old, diff)?;
    rows.reverse();
    Some(rows)
}

fn change_map(rows: &mut BTreeMap<u8, u64>, diff: &Diff<u8, u64>) -> bool {
    let mut set = |key: u8, diff: &Diff<u8, u64>| match diff {
        Diff::NewValue { value } => assert_ne!(rows.insert(key, *value), Some(*value)),
        other => panic!("{other:?}"),
    };
    match diff {
        Diff::Key { key, diff } => set(*key, diff),
        Diff::Keys { diffs } => diffs.iter().for_each(|(key, diff)| set(*key, diff)),
        Diff::KeyRemove { key } => assert!(rows.remove(key).is_some()),
        Diff::KeysRemove { keys } => {
            keys.iter()
                .for_each(|key| assert!(rows.remove(key).is_some()));
        }
        Diff::Multi { diffs } => return diffs.iter().all(|diff| change_map(rows, diff)),
        Diff::Resync => return false,
        other => panic!("{other:?}"),
    }
    true
}

fn after_set(old: &Vec<u8>, diff: &Diff<u8, ()>) -> Option<Vec<u8>> {
    let mut elements: BTreeSet<u8> = old.iter().copied().collect();
    let parts = match diff {
        Diff::Resync => return None,
        Diff::Multi { diffs } => diffs.as_slice(),
        one => std::slice::from_ref(one),
    };
    for part in parts {
        match part {
            Diff::SetAdd { element } => assert!(elements.insert(*element)),
            Diff::SetRemove { element } => assert!(elements.remove(element)),
            other => panic!("{other:?}"),
        }
    }
    Some(elements.into_iter().collect())
}

fn after_list(old: &Vec<u64>, diff: &Diff<u64, u64>) -> Option<Vec<u64>> {
    let mut list = old.clone();
    change_list(&mut list, old.len() as u64, diff).then_some(list)
}

fn change_list(list: &mut Vec<u64>, len: u64, diff: &Diff<u64, u64>) -> bool {
    let mut set = |index: u64, diff: &Diff<u64, u64>| match diff {
        Diff::NewValue { value } => list[index as usize] = *value,
        other => panic!("{other:?}"),
    };
    match diff {
        Diff::IndexChange { index, diff } => set(*index, diff),
        Diff::IndexChanges { diffs } => diffs.iter().for_each(|(index, diff)| set(*index, diff)),
        Diff::SequenceInsert {
            before_index,
            element,
            old_size,
        } => {
            assert_eq!((*before_index, *old_size), (len, len));
            list.push(*element);
        }
        Diff::SequenceInserts {
            before_index,
            elements,
            old_size,
        } => {
            assert_eq!((*before_index, *old_size), (len, len));
            list.extend(elements);
        }
        Diff::IndexRemove {
            index,
            amount,
            old_size,
        } => {
            assert_eq!((*old_size, index + amount), (len, len));
            list.truncate(*index as usize);
        }
        Diff::Multi { diffs } => return diffs.iter().all(|diff| change_list(list, len, diff)),
        Diff::Resync => return false,
        other => panic!("{other:?}"),
    }
    true
}
