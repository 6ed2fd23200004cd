//! A follower over the embedded metastore: what is written is seen, what is foreign is passed over.

use rama_metastore::{Embedded, Level, Txn};
use rama_planner::ids::{ModuleName, NodeId};
use rama_planner::records::Supervisor;
use rama_planner::store::{Txn as PlannedTxn, Written};
use uuid::Uuid;

use super::*;
use crate::write;

async fn until(follower: &mut Follower, done: impl Fn(&Follower) -> bool) {
    while !done(follower) {
        follower.next().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_written_is_seen_and_what_is_foreign_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    let space = Space::new("rama").unwrap();
    let node = NodeId(Uuid::from_u128(1));
    let foreign = Txn::new().put("/rama/v1/what/is/this", "x").put(
        "/rama/v1/sup/00000000-0000-0000-0000-000000000009",
        "no record",
    );
    store.txn(foreign).await.unwrap().done().unwrap();
    let mut follower = Follower::new(&store, &space);
    assert_eq!(follower.next().await.unwrap(), Change::View);
    assert_eq!(follower.view().entries().count(), 0);

    let key = Key::Supervisor(node);
    let record = Supervisor {
        cores: 4,
        ..Supervisor::default()
    };
    let txn = PlannedTxn::new()
        .absent(key.clone())
        .put(key.clone(), Value::Supervisor(record.clone()));
    let written = write(&store, &space, None, &txn).await;
    let Written::Done { revision } = written else {
        panic!("{written:?}");
    };
    follower.reach(revision).await.unwrap();
    assert_eq!(follower.view().supervisor(&node).unwrap().record, &record);
    assert_eq!(write(&store, &space, None, &txn).await, Written::Refused);
    let leased = PlannedTxn::new().put_leased(key.clone(), Value::Supervisor(record));
    // Without a lease nothing leased is written.
    assert_eq!(write(&store, &space, None, &leased).await, Written::Refused);

    let name = || "M".to_owned();
    let setting = StoredKey::Setting(name(), Level::Module, "o".into());
    let paused = StoredKey::Paused(name(), "t".into());
    let set = Txn::new()
        .put(space.key(&setting), r#"{"v":1,"value":5}"#)
        .put(space.key(&paused), r#"{"v":1,"since_ms":1}"#);
    store.txn(set).await.unwrap().done().unwrap();
    until(&mut follower, |follower| !follower.paused("M").is_empty()).await;
    let settings = Settings::new().with(rama_core::options::Level::Module, "o", 5);
    assert_eq!(follower.settings("M"), settings);
    let unset = Txn::new()
        .delete(space.key(&setting))
        .delete(space.key(&paused))
        .delete(space.key(&codec::stored_key(&key)));
    store.txn(unset).await.unwrap().done().unwrap();
    until(&mut follower, |follower| follower.paused("M").is_empty()).await;
    until(&mut follower, |follower| follower.settings("M").is_empty()).await;
    until(&mut follower, |follower| {
        follower.view().supervisor(&node).is_none()
    })
    .await;
    assert!(
        follower
            .view()
            .module(&ModuleName::new("M").unwrap())
            .is_none()
    );
}
