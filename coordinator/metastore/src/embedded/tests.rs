//! The embedded store: the suite, and what a crash and a second opener do.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::Embedded;
use crate::error::Error;
use crate::store::{Listing, Metastore};
use crate::txn::{Txn, TxnOutcome};
use crate::watch::{WatchEvent, WatchFrom};

struct Place {
    _dir: TempDir,
    file: PathBuf,
}

fn place() -> Place {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("metastore");
    Place { _dir: dir, file }
}

async fn put(store: &Embedded, key: &str, value: &str) {
    let outcome = store.txn(Txn::new().put(key, value)).await.unwrap();
    assert!(outcome.done().is_some());
}

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds() {
    let place = place();
    let store = Embedded::open(&place.file).await.unwrap();
    crate::conformance::run(&store).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart_except_leased_keys() {
    let place = place();
    let store = Embedded::open(&place.file).await.unwrap();
    put(&store, "a", "1").await;
    put(&store, "b", "1").await;
    put(&store, "a", "2").await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let leased = Txn::new().put_leased("c", "1", lease.id()).delete("b");
    let revision = store.txn(leased).await.unwrap().done().unwrap();
    let before = store.get("a").await.unwrap();
    drop((lease, store));
    let store = Embedded::open(&place.file).await.unwrap();
    let listing = store.list("a").await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), before);
    assert_eq!(store.get("b").await.unwrap(), None);
    assert_eq!(store.get("c").await.unwrap(), None, "its holder is gone");
    assert_eq!(
        listing.revision,
        revision + 1,
        "the end of the lease is a change of its own"
    );
    // Who followed the store before the restart is told to start over.
    let mut watch = store.watch("a", WatchFrom::Revision(revision));
    assert!(matches!(watch.next().await, Ok(WatchEvent::Relisted(_))));
}

#[tokio::test]
async fn a_second_opener_is_refused_by_name() {
    let place = place();
    let store = Embedded::open(&place.file).await.unwrap();
    let error = Embedded::open(&place.file).await.unwrap_err();
    assert_eq!(
        error,
        Error::Busy {
            path: place.file.clone()
        }
    );
    drop(store);
    Embedded::open(&place.file).await.unwrap();
}

/// A file with some transactions; the listing after each, and how long the file was then.
async fn written(place: &Place, changes: usize) -> Vec<(Listing, usize)> {
    let store = Embedded::open(&place.file).await.unwrap();
    let length = || fs::read(&place.file).unwrap().len();
    let mut states = vec![(store.list("k").await.unwrap(), length())];
    for round in 0..changes {
        let key = format!("k{}", round % 3);
        let txn = match round % 4 {
            3 => Txn::new().delete_prefix("k1"),
            _ => Txn::new().put(&key, vec![round as u8; round * 7]),
        };
        assert!(matches!(store.txn(txn).await, Ok(TxnOutcome::Done { .. })));
        states.push((store.list("k").await.unwrap(), length()));
    }
    states
}

#[tokio::test]
async fn a_file_cut_anywhere_opens_as_it_was_after_the_last_whole_record() {
    let place = place();
    let states = written(&place, 12).await;
    let bytes = fs::read(&place.file).unwrap();
    for end in states[0].1..=bytes.len() {
        for tail in [&[][..], &[0; 64], &[0xff; 64]] {
            let torn = [&bytes[..end], tail].concat();
            // The end of a record may be zeros, which some tails then complete.
            let same = torn
                .iter()
                .zip(&bytes)
                .take_while(|(torn, whole)| torn == whole)
                .count();
            fs::write(&place.file, torn).unwrap();
            let store = Embedded::open(&place.file).await.unwrap();
            let whole = states.iter().rev().find(|(_, length)| *length <= same);
            assert_eq!(
                store.list("k").await.unwrap(),
                whole.unwrap().0,
                "cut at {end}"
            );
            // And it is fit for more.
            put(&store, "k9", "more").await;
            drop(store);
            let store = Embedded::open(&place.file).await.unwrap();
            assert!(store.get("k9").await.unwrap().is_some(), "cut at {end}");
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_is_named_and_never_served() {
    let place = place();
    let states = written(&place, 8).await;
    let bytes = fs::read(&place.file).unwrap();
    let last_whole = states[states.len() - 2].1;
    for at in 0..last_whole {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(&place.file, flipped).unwrap();
        match Embedded::open(&place.file).await {
            Err(Error::Corrupt { path, offset, .. }) => {
                assert_eq!(path, place.file);
                assert!(offset as usize <= at, "found at {offset}, flipped at {at}");
            }
            other => panic!("flipped at {at}: {other:?}"),
        }
    }
    // The last record cannot be told from one that was being written.
    let mut flipped = bytes;
    flipped[last_whole + 10] ^= 0x10;
    fs::write(&place.file, flipped).unwrap();
    let store = Embedded::open(&place.file).await.unwrap();
    assert_eq!(store.list("k").await.unwrap(), states[states.len() - 2].0);
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused() {
    let place = place();
    for bytes in [&b"{}"[..], b"rama metastore 2 and so on", b"\0"] {
        fs::write(&place.file, bytes).unwrap();
        let error = Embedded::open(&place.file).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
    }
    // One that was being made is made again.
    fs::write(&place.file, &b"rama meta"[..]).unwrap();
    Embedded::open(&place.file).await.unwrap();
}

#[tokio::test]
async fn history_is_dropped_when_the_file_is_mostly_that() {
    let place = place();
    let store = Embedded::open(&place.file).await.unwrap();
    let mut largest = 0;
    for round in 0..400 {
        put(&store, &format!("k{}", round % 4), &"x".repeat(10_000)).await;
        largest = largest.max(fs::metadata(&place.file).unwrap().len());
    }
    assert!(largest < 1_200_000, "{largest} bytes for 40,000");
    let before = store.list("k").await.unwrap();
    drop(store);
    // What a crash in the middle of a rewrite leaves behind is no hindrance.
    fs::write(place.file.with_extension("new"), "half").unwrap();
    let store = Embedded::open(&place.file).await.unwrap();
    assert_eq!(store.list("k").await.unwrap(), before);
}

#[tokio::test]
async fn a_watch_that_lags_behind_history_is_relisted() {
    let place = place();
    let store = Embedded::open(&place.file).await.unwrap();
    let mut watch = store.watch("k", WatchFrom::Listing);
    assert!(matches!(watch.next().await, Ok(WatchEvent::Relisted(_))));
    for round in 0..90 {
        let txn = (0..100).fold(Txn::new(), |txn, i| {
            txn.put(format!("k{i}"), format!("{round}"))
        });
        store.txn(txn).await.unwrap().done().unwrap();
    }
    let Ok(WatchEvent::Relisted(listing)) = watch.next().await else {
        panic!("9,000 events are more than are kept");
    };
    assert_eq!(listing.entries.len(), 100);
    assert!(
        listing
            .entries
            .iter()
            .all(|entry| entry.versioned.value == b"89")
    );
}

#[tokio::test]
async fn watches_end_with_the_store() {
    let place = place();
    let store = Embedded::open(&place.file).await.unwrap();
    let mut watch = store.watch("k", WatchFrom::Listing);
    watch.next().await.unwrap();
    drop(store);
    assert!(matches!(watch.next().await, Err(Error::Closed { .. })));
}
