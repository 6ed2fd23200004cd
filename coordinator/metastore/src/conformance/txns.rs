//! Transactions, revisions, listings.

use super::{done, refused, text};
use crate::store::Metastore;
use crate::txn::Txn;

pub async fn a_txn_is_done_whole_or_not_at_all<M: Metastore>(store: M, at: String) {
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("{at}{name}"));
    done(&store, Txn::new().put(&c, "old")).await;
    let write = |txn: Txn| txn.put(&a, "1").put(&b, "2").delete(&c);
    refused(&store, write(Txn::new().absent(&a).exists(&b))).await;
    assert_eq!(text(&store, &a).await, None);
    assert_eq!(text(&store, &c).await.as_deref(), Some("old"));
    let revision = done(&store, write(Txn::new().absent(&a).absent(&b))).await;
    let listing = store.list(&at).await.expect("listing");
    let keys: Vec<_> = listing
        .entries
        .iter()
        .map(|e| (&e.key, e.versioned.revision))
        .collect();
    assert_eq!(keys, [(&a, revision), (&b, revision)]);
}

pub async fn each_comparison_holds_and_refuses<M: Metastore>(store: M, at: String) {
    let [there, gone, out] = ["there", "gone", "out"].map(|name| format!("{at}{name}"));
    done(&store, Txn::new().put(&there, "1").put(&gone, "1")).await;
    let old = done(&store, Txn::new().put(&there, "2")).await;
    let revision = done(&store, Txn::new().put(&there, "3").delete(&gone)).await;
    let holds = [
        Txn::new(),
        Txn::new().exists(&there),
        Txn::new().absent(&gone),
        Txn::new().at_revision(&there, revision),
        Txn::new()
            .exists(&there)
            .absent(&gone)
            .at_revision(&there, revision),
    ];
    for txn in holds {
        done(&store, txn.put(&out, "x")).await;
    }
    let refuses = [
        Txn::new().absent(&there),
        Txn::new().exists(&gone),
        Txn::new().at_revision(&there, old),
        Txn::new().at_revision(&there, revision + 1),
        Txn::new().at_revision(&gone, revision),
        Txn::new().exists(&there).exists(&gone),
    ];
    for txn in refuses {
        refused(&store, txn.put(&out, "y")).await;
    }
    assert_eq!(text(&store, &out).await.as_deref(), Some("x"));
}

pub async fn a_refusal_tells_what_was_found<M: Metastore>(store: M, at: String) {
    let [a, b] = ["a", "b"].map(|name| format!("{at}{name}"));
    let made = done(&store, Txn::new().put(&a, "1")).await;
    let revision = done(&store, Txn::new().put(&a, "2")).await;
    let found = refused(&store, Txn::new().exists(&b).absent(&a).put(&b, "3")).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], None);
    let found = found[1].clone().expect("a exists");
    assert_eq!(
        (found.value.as_slice(), found.revision, found.create),
        (&b"2"[..], revision, made)
    );
}

pub async fn revisions_only_grow_and_mark_creation<M: Metastore>(store: M, at: String) {
    let key = format!("{at}k");
    let mut last = store.list(&at).await.expect("listing").revision;
    let mut made = 0;
    for round in 0..20 {
        let revision = done(&store, Txn::new().put(&key, format!("{round}"))).await;
        assert!(revision > last, "{revision} after {last}");
        last = revision;
        if round % 5 == 0 {
            made = revision;
        }
        let found = store.get(&key).await.expect("get").expect("it was put");
        assert_eq!((found.revision, found.create), (revision, made));
        if round % 5 == 4 {
            let gone = done(&store, Txn::new().delete(&key)).await;
            assert!(gone > last);
            assert_eq!(store.get(&key).await.expect("get"), None);
            last = gone;
        }
    }
    assert!(store.list(&at).await.expect("listing").revision >= last);
}

pub async fn a_delete_of_nothing_takes_no_revision<M: Metastore>(store: M, at: String) {
    let key = format!("{at}k");
    let put = done(&store, Txn::new().put(&key, "1")).await;
    done(
        &store,
        Txn::new()
            .delete(format!("{at}none"))
            .delete_prefix(format!("{at}no/")),
    )
    .await;
    // Others may write in between; this key was not touched.
    let found = store.get(&key).await.expect("get").expect("it stays");
    assert_eq!(found.revision, put);
    done(&store, Txn::new().delete(&key)).await;
    refused(&store, Txn::new().exists(&key)).await;
}

pub async fn a_prefix_is_deleted_whole_and_alone<M: Metastore>(store: M, at: String) {
    for name in ["a/1", "a/2", "a/b/c", "a0", "b/1", "a"] {
        done(&store, Txn::new().put(format!("{at}{name}"), "x")).await;
    }
    done(&store, Txn::new().delete_prefix(format!("{at}a/"))).await;
    let listing = store.list(&at).await.expect("listing");
    let left: Vec<_> = listing
        .entries
        .iter()
        .map(|e| e.key[at.len()..].to_owned())
        .collect();
    assert_eq!(left, ["a", "a0", "b/1"]);
}

pub async fn a_big_prefix_is_listed_whole_in_order_at_one_revision<M: Metastore>(
    store: M,
    at: String,
) {
    const KEYS: usize = 2500;
    let name = |index: usize| format!("{at}in/{index:06}");
    for chunk in (0..KEYS).collect::<Vec<_>>().chunks(100) {
        let put = |txn: Txn, index: &usize| txn.put(name(*index), vec![b'v'; 200]);
        done(&store, chunk.iter().fold(Txn::new(), put)).await;
    }
    done(
        &store,
        Txn::new()
            .put(format!("{at}in0"), "after")
            .put(format!("{at}im"), "before"),
    )
    .await;
    // A writer moves a pair of keys together; a listing that is one moment sees them equal.
    let writer = tokio::spawn({
        let (store, first, last) = (store.clone(), name(0), name(KEYS - 1));
        async move {
            for round in 0..100 {
                let value = format!("{round}");
                done(
                    &store,
                    Txn::new().put(&first, value.clone()).put(&last, value),
                )
                .await;
            }
        }
    });
    loop {
        let ended = writer.is_finished();
        let listing = store.list(&format!("{at}in/")).await.expect("listing");
        assert_eq!(listing.entries.len(), KEYS);
        assert!(listing.entries.is_sorted_by(|a, b| a.key < b.key));
        let (first, last) = (&listing.entries[0], &listing.entries[KEYS - 1]);
        assert_eq!(first.versioned.value, last.versioned.value);
        assert!(
            listing
                .entries
                .iter()
                .all(|e| e.versioned.revision <= listing.revision)
        );
        if ended {
            break;
        }
    }
    writer.await.expect("the writer ends well");
}

pub async fn values_are_any_bytes<M: Metastore>(store: M, at: String) {
    let all: Vec<u8> = (0..=255).collect();
    for (name, value) in [("empty", vec![]), ("all", all.clone()), ("ü/ 漢", all)] {
        let key = format!("{at}{name}");
        done(&store, Txn::new().put(&key, value.clone())).await;
        assert_eq!(
            store
                .get(&key)
                .await
                .expect("get")
                .expect("it was put")
                .value,
            value
        );
    }
}
