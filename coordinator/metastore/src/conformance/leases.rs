//! Leases: expiry, keep-alive, revocation.

use std::time::Duration;

use super::{done, refused, seen, text};
use crate::error::Error;
use crate::lease::LeaseState;
use crate::store::Metastore;
use crate::txn::Txn;
use crate::watch::WatchFrom;

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

pub async fn keys_die_with_a_lease_that_nobody_keeps<M: Metastore>(store: M, at: String) {
    let key = format!("{at}k");
    let lease = store.grant(SHORT).await.expect("a lease");
    assert!(lease.ttl() >= SHORT && lease.held());
    let put = done(&store, Txn::new().put_leased(&key, "1", lease.id())).await;
    let mut watch = store.watch(&at, WatchFrom::Revision(put));
    assert_eq!(seen(&mut watch).await, (put, format!("{key}=1")));
    drop(lease);
    let (gone, event) = seen(&mut watch).await;
    assert_eq!(event, format!("-{key}"));
    assert!(gone > put);
    assert_eq!(text(&store, &key).await, None);
}

pub async fn a_lease_is_kept_alive_by_its_handle<M: Metastore>(store: M, at: String) {
    let [kept, left] = ["kept", "left"].map(|name| format!("{at}{name}"));
    let keeper = store.grant(SHORT).await.expect("a lease");
    let clone = keeper.clone();
    done(&store, Txn::new().put_leased(&kept, "1", keeper.id())).await;
    drop(keeper);
    // Two leases as long that are not kept live and die one after the other.
    for _ in 0..2 {
        let other = store.grant(SHORT).await.expect("a lease");
        let put = done(&store, Txn::new().put_leased(&left, "1", other.id())).await;
        drop(other);
        let mut watch = store.watch(&left, WatchFrom::Revision(put + 1));
        assert_eq!(seen(&mut watch).await.1, format!("-{left}"));
    }
    assert_eq!(text(&store, &kept).await.as_deref(), Some("1"));
    assert_eq!(clone.state(), LeaseState::Held);
    assert!(clone.held() && clone.held_for() > Duration::ZERO);
}

pub async fn a_revoked_lease_takes_its_keys_and_tells_its_holder<M: Metastore>(
    store: M,
    at: String,
) {
    let key = format!("{at}k");
    let lease = store.grant(LONG).await.expect("a lease");
    let put = done(&store, Txn::new().put_leased(&key, "1", lease.id())).await;
    let mut watch = store.watch(&at, WatchFrom::Revision(put + 1));
    store.revoke(lease.id()).await.expect("revocation");
    assert_eq!(text(&store, &key).await, None);
    assert_eq!(seen(&mut watch).await.1, format!("-{key}"));
    lease.lost().await;
    lease.lapsed().await;
    assert!(!lease.held());
    assert_eq!(lease.state(), LeaseState::Lost);
    assert_eq!(lease.settled().await, LeaseState::Lost);
    store
        .revoke(lease.id())
        .await
        .expect("a second revocation is fine");
}

pub async fn a_lease_that_is_gone_takes_no_keys<M: Metastore>(store: M, at: String) {
    let [leased, plain] = ["leased", "plain"].map(|name| format!("{at}{name}"));
    let lease = store.grant(LONG).await.expect("a lease");
    store.revoke(lease.id()).await.expect("revocation");
    let txn = Txn::new()
        .put(&plain, "1")
        .put_leased(&leased, "1", lease.id());
    let result = store.txn(txn).await;
    assert!(matches!(result, Err(Error::LeaseGone { .. })), "{result:?}");
    assert_eq!(text(&store, &plain).await, None);
}

pub async fn a_key_put_without_its_lease_stays<M: Metastore>(store: M, at: String) {
    let [stays, moves, dies] = ["stays", "moves", "dies"].map(|name| format!("{at}{name}"));
    let first = store.grant(LONG).await.expect("a lease");
    let second = store.grant(LONG).await.expect("a lease");
    for key in [&stays, &moves, &dies] {
        done(&store, Txn::new().put_leased(key, "1", first.id())).await;
    }
    done(
        &store,
        Txn::new()
            .put(&stays, "2")
            .put_leased(&moves, "2", second.id()),
    )
    .await;
    store.revoke(first.id()).await.expect("revocation");
    assert_eq!(text(&store, &stays).await.as_deref(), Some("2"));
    assert_eq!(text(&store, &moves).await.as_deref(), Some("2"));
    assert_eq!(text(&store, &dies).await, None);
    store.revoke(second.id()).await.expect("revocation");
    assert_eq!(text(&store, &stays).await.as_deref(), Some("2"));
    assert_eq!(text(&store, &moves).await, None);
}

pub async fn one_lease_carries_many_keys<M: Metastore>(store: M, at: String) {
    let lease = store.grant(LONG).await.expect("a lease");
    for chunk in 0..3 {
        let put = |txn: Txn, index: usize| {
            txn.put_leased(format!("{at}{chunk}/{index}"), "1", lease.id())
        };
        done(&store, (0..100).fold(Txn::new(), put)).await;
    }
    assert_eq!(store.list(&at).await.expect("listing").entries.len(), 300);
    store.revoke(lease.id()).await.expect("revocation");
    assert_eq!(store.list(&at).await.expect("listing").entries.len(), 0);
}

pub async fn the_first_of_two_candidates_gets_the_key<M: Metastore>(store: M, at: String) {
    let key = format!("{at}leader");
    let first = store.grant(SHORT).await.expect("a lease");
    let second = store.grant(LONG).await.expect("a lease");
    let elected = done(
        &store,
        Txn::new().absent(&key).put_leased(&key, "1", first.id()),
    )
    .await;
    let candidate = Txn::new().absent(&key).put_leased(&key, "2", second.id());
    let found = refused(&store, candidate.clone()).await;
    assert_eq!(found[0].as_ref().map(|found| found.create), Some(elected));
    // The candidate waits until the leader's key is gone, then takes its place.
    let mut watch = store.watch(&key, WatchFrom::Revision(elected + 1));
    drop(first);
    assert_eq!(seen(&mut watch).await.1, format!("-{key}"));
    let next = done(&store, candidate).await;
    assert!(next > elected, "create revisions order the leaders");
}
