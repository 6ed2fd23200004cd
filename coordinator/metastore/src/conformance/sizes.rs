//! What is refused before it is sent.

use super::{done, text};
use crate::error::Error;
use crate::limits::{KEY_BYTES_MAX, TXN_BYTES_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX};
use crate::store::Metastore;
use crate::txn::Txn;

pub async fn what_is_too_large_is_refused_and_changes_nothing<M: Metastore>(store: M, at: String) {
    let key = format!("{at}k");
    done(&store, Txn::new().put(&key, "kept")).await;
    let long = format!("{at}{}", "k".repeat(KEY_BYTES_MAX));
    let half = vec![b'x'; TXN_BYTES_MAX / 2];
    let many = (0..=TXN_OPS_MAX).fold(Txn::new(), |txn, i| txn.put(format!("{at}{i}"), "x"));
    let refused = [
        Txn::new().put(&key, vec![b'x'; VALUE_BYTES_MAX + 1]),
        Txn::new().put(&key, "x").put(&long, "x"),
        Txn::new().put(&key, "x").absent(&long),
        Txn::new().put(&key, "x").delete(&long),
        Txn::new()
            .put(&key, half.clone())
            .put(format!("{at}l"), half),
    ];
    for txn in refused {
        let result = store.txn(txn).await;
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    }
    for txn in [many.put(&key, "x"), Txn::new().put(&key, "x").put("", "x")] {
        let result = store.txn(txn).await;
        assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?}");
    }
    assert!(store.get(&long).await.is_err());
    assert!(store.list("").await.is_err());
    assert_eq!(text(&store, &key).await.as_deref(), Some("kept"));
}

pub async fn a_key_written_twice_in_a_txn_is_refused<M: Metastore>(store: M, at: String) {
    let [a, b] = ["a/1", "b"].map(|name| format!("{at}{name}"));
    let twice = [
        Txn::new().put(&a, "1").put(&a, "2"),
        Txn::new().put(&a, "1").delete(&a),
        Txn::new().put(&a, "1").delete_prefix(format!("{at}a/")),
        Txn::new().delete(&a).delete(&a),
        Txn::new().delete(&a).delete_prefix(format!("{at}a/")),
        Txn::new()
            .delete_prefix(&at)
            .delete_prefix(format!("{at}a/")),
        Txn::new()
            .delete_prefix(format!("{at}a/"))
            .delete_prefix(&at),
    ];
    for txn in twice {
        let result = store.txn(txn.put(&b, "x")).await;
        assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?}");
    }
    assert_eq!(text(&store, &b).await, None);
}

pub async fn the_largest_txn_fits<M: Metastore>(store: M, at: String) {
    let txn = (0..TXN_OPS_MAX).fold(Txn::new(), |txn, index| {
        let key = format!("{at}{index:0width$}", width = KEY_BYTES_MAX - at.len());
        txn.absent(&key).put(&key, vec![b'x'; 8000])
    });
    done(&store, txn).await;
    assert_eq!(
        store.list(&at).await.expect("listing").entries.len(),
        TXN_OPS_MAX
    );
    let key = format!("{at}large");
    done(&store, Txn::new().put(&key, vec![b'x'; VALUE_BYTES_MAX])).await;
    assert!(store.get(&key).await.expect("get").is_some());
}
