//! Watches: order, gaps, duplicates, history.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{done, next, seen};
use crate::store::Metastore;
use crate::txn::Txn;
use crate::watch::{WatchEvent, WatchFrom};

pub async fn a_watch_begins_with_a_listing_then_follows<M: Metastore>(store: M, at: String) {
    let [a, b] = ["a", "b"].map(|name| format!("{at}{name}"));
    let first = done(&store, Txn::new().put(&a, "1")).await;
    let mut watch = store.watch(&at, WatchFrom::Listing);
    let WatchEvent::Relisted(listing) = next(&mut watch).await else {
        panic!("a listing comes first");
    };
    assert!(listing.revision >= first);
    let keys: Vec<_> = listing.entries.iter().map(|entry| &entry.key).collect();
    assert_eq!(keys, [&a]);
    let put = done(&store, Txn::new().put(&b, "2")).await;
    let gone = done(&store, Txn::new().delete(&a)).await;
    assert_eq!(seen(&mut watch).await, (put, format!("{b}=2")));
    assert_eq!(seen(&mut watch).await, (gone, format!("-{a}")));
}

pub async fn a_watch_from_a_revision_sees_what_happened_since<M: Metastore>(store: M, at: String) {
    let key = format!("{at}k");
    done(&store, Txn::new().put(&key, "0")).await;
    let listing = store.list(&at).await.expect("listing");
    let first = done(&store, Txn::new().put(&key, "1")).await;
    let second = done(&store, Txn::new().put(&key, "2")).await;
    let mut watch = store.watch(&at, WatchFrom::Revision(listing.revision + 1));
    assert_eq!(seen(&mut watch).await, (first, format!("{key}=1")));
    assert_eq!(seen(&mut watch).await, (second, format!("{key}=2")));
    // A watch from the future waits for it.
    let mut watch = store.watch(&at, WatchFrom::Revision(second + 1));
    let third = done(&store, Txn::new().put(&key, "3")).await;
    assert_eq!(seen(&mut watch).await, (third, format!("{key}=3")));
}

pub async fn a_watch_sees_its_prefix_alone<M: Metastore>(store: M, at: String) {
    let mut watch = store.watch(&format!("{at}in/"), WatchFrom::Listing);
    assert_eq!(seen(&mut watch).await.1, "listed 0");
    let out = |name: &str| format!("{at}{name}");
    done(
        &store,
        Txn::new()
            .put(out("in"), "x")
            .put(out("in0"), "x")
            .put(out("im/a"), "x"),
    )
    .await;
    let put = done(
        &store,
        Txn::new().put(out("in/a"), "1").put(out("out"), "x"),
    )
    .await;
    assert_eq!(seen(&mut watch).await, (put, format!("{at}in/a=1")));
    let gone = done(&store, Txn::new().delete_prefix(&at)).await;
    assert_eq!(seen(&mut watch).await, (gone, format!("-{at}in/a")));
}

pub async fn changes_come_in_order_without_gap_or_duplicate<M: Metastore>(store: M, at: String) {
    const WRITERS: usize = 4;
    const WRITES: usize = 60;
    let mut early = store.watch(&at, WatchFrom::Listing);
    let listed = next(&mut early).await.revision();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, at) = (store.clone(), at.clone());
            tokio::spawn(async move {
                let mut done_at = Vec::new();
                for write in 0..WRITES {
                    let key = format!("{at}{}", (writer + write) % 3);
                    let value = format!("{writer}.{write}");
                    let revision = done(&store, Txn::new().put(&key, value.clone())).await;
                    done_at.push((revision, format!("{key}={value}")));
                }
                done_at
            })
        })
        .collect();
    let mut written = BTreeMap::new();
    for writer in writers {
        written.extend(writer.await.expect("writers end well"));
    }
    let mut late = store.watch(&at, WatchFrom::Revision(listed + 1));
    for watch in [&mut early, &mut late] {
        let mut followed = Vec::new();
        while followed.len() < WRITERS * WRITES {
            followed.push(seen(watch).await);
        }
        let expected: Vec<_> = written.clone().into_iter().collect();
        assert_eq!(followed, expected);
    }
}

pub async fn keys_of_one_txn_come_at_one_revision<M: Metastore>(store: M, at: String) {
    let mut watch = store.watch(&at, WatchFrom::Listing);
    seen(&mut watch).await;
    let put = |txn: Txn, index: usize| txn.put(format!("{at}{index:02}"), "x");
    let put_at = done(&store, (0..50).fold(Txn::new(), put)).await;
    let gone_at = done(&store, Txn::new().delete_prefix(&at)).await;
    for (revision, sign) in [(put_at, ""), (gone_at, "-")] {
        let mut keys = Vec::new();
        for _ in 0..50 {
            let (seen_at, text) = seen(&mut watch).await;
            assert_eq!(seen_at, revision);
            assert!(text.starts_with(&format!("{sign}{at}")), "{text}");
            keys.push(text);
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 50);
    }
}

pub async fn a_slow_watch_misses_nothing<M: Metastore>(store: M, at: String) {
    let mut watch = store.watch(&at, WatchFrom::Listing);
    seen(&mut watch).await;
    let mut expected = Vec::new();
    for chunk in 0..12 {
        let keys: Vec<_> = (0..50)
            .map(|index| format!("{at}{chunk:02}/{index:02}"))
            .collect();
        let txn = keys
            .iter()
            .fold(Txn::new(), |txn, key| txn.put(key, "x".repeat(500)));
        let revision = done(&store, txn).await;
        expected.extend(keys.into_iter().map(|key| (revision, key)));
    }
    let mut followed = Vec::new();
    while followed.len() < expected.len() {
        let WatchEvent::Put(entry) = next(&mut watch).await else {
            panic!("only puts happened");
        };
        followed.push((entry.versioned.revision, entry.key));
    }
    assert_eq!(followed, expected);
}

pub async fn a_cancelled_wait_loses_nothing<M: Metastore>(store: M, at: String) {
    let mut watch = store.watch(&at, WatchFrom::Listing);
    seen(&mut watch).await;
    let key = format!("{at}k");
    for round in 0..10 {
        // Polled once or for a moment, then dropped.
        let patience = Duration::from_millis(round % 3);
        let early = tokio::time::timeout(patience, watch.next()).await;
        assert!(early.is_err(), "nothing has happened: {early:?}");
        let revision = done(&store, Txn::new().put(&key, format!("{round}"))).await;
        assert_eq!(seen(&mut watch).await, (revision, format!("{key}={round}")));
    }
}

pub async fn a_watch_is_relisted_where_history_was_compacted<M: Metastore>(store: M, at: String) {
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("{at}{name}"));
    let first = done(&store, Txn::new().put(&a, "1").put(&b, "1")).await;
    done(&store, Txn::new().put(&a, "2").delete(&b)).await;
    let last = done(&store, Txn::new().put(&c, "3")).await;
    store.compact(last).await.expect("compaction");
    let mut watch = store.watch(&at, WatchFrom::Revision(first));
    let WatchEvent::Relisted(listing) = next(&mut watch).await else {
        panic!("history is gone");
    };
    assert!(listing.revision >= last);
    let entries: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.versioned.value.as_slice()))
        .collect();
    assert_eq!(entries, [(a.as_str(), &b"2"[..]), (c.as_str(), &b"3"[..])]);
    let put = done(&store, Txn::new().put(&b, "4")).await;
    assert_eq!(seen(&mut watch).await, (put, format!("{b}=4")));
    // Compacting what is compacted already is fine, the future is not.
    store.compact(first).await.expect("compaction of the past");
    assert!(store.compact(put + 1_000_000).await.is_err());
}
