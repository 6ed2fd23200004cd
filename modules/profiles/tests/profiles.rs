//! What a user of the module would check: one winner per name, retries that repeat the answer, and
//! edits that touch what they name.
//!
//! Relies on an in-process cluster, at several task counts.

use profiles::{EDITS, Edit, PROFILES, Profiles, REGISTRATIONS, Registration};
use rama::prelude::*;
use uuid::Uuid;

fn registration(id: u128, username: &str) -> Registration {
    Registration {
        id: Uuid::from_u128(id),
        username: username.into(),
        password_hash: format!("hash-{id}"),
    }
}

async fn register(cluster: &Cluster, registration: &Registration) -> Option<u64> {
    let appended = cluster
        .depot(REGISTRATIONS)
        .append(registration)
        .await
        .expect("append");
    appended.returns.get("profiles").and_then(|id| id.as_u64())
}

/// The values of the survey's Profile (spec 16.2): the second registration has no ack return.
#[tokio::test]
async fn the_first_registration_of_a_name_wins_and_retries_agree() {
    for (tasks, threads) in [(1, 1), (4, 2), (8, 2)] {
        let cluster = InProcessCluster::new(tasks, threads).expect("a cluster");
        cluster.launch(Profiles).await.expect("launch");
        let alice = register(&cluster, &registration(1, "alice"))
            .await
            .expect("an id");
        assert_eq!(register(&cluster, &registration(2, "alice")).await, None);
        assert_eq!(
            register(&cluster, &registration(1, "alice")).await,
            Some(alice)
        );
        let bob = register(&cluster, &registration(3, "bob"))
            .await
            .expect("an id");
        assert_ne!(alice, bob);
        let name = cluster
            .pstate(PROFILES)
            .select_one(PROFILES.key(&alice).username())
            .await;
        assert_eq!(name.expect("select"), Some("alice".to_string()));
        let hash = cluster
            .pstate(PROFILES)
            .select_one(PROFILES.key(&alice).password_hash())
            .await;
        assert_eq!(hash.expect("select"), Some("hash-1".to_string()));
    }
}

#[tokio::test]
async fn racing_registrations_have_one_winner() {
    let cluster = InProcessCluster::new(4, 2).expect("a cluster");
    cluster.launch(Profiles).await.expect("launch");
    let contenders: Vec<_> = (0..16)
        .map(|n| {
            let depot = cluster.depot(REGISTRATIONS);
            tokio::spawn(async move { depot.append(&registration(n + 1, "carol")).await })
        })
        .collect();
    let mut winners = 0;
    for contender in contenders {
        let appended = contender.await.expect("no panic").expect("append");
        winners += usize::from(appended.returns.contains_key("profiles"));
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn ids_are_unique_over_all_tasks() {
    let cluster = InProcessCluster::new(8, 2).expect("a cluster");
    cluster.launch(Profiles).await.expect("launch");
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..100 {
        let id = register(&cluster, &registration(n + 1, &format!("user-{n}"))).await;
        assert!(ids.insert(id.expect("an id")), "id {id:?} was given twice");
    }
}

#[tokio::test]
async fn edits_change_only_what_they_name() {
    let cluster = InProcessCluster::new(4, 2).expect("a cluster");
    cluster.launch(Profiles).await.expect("launch");
    let id = register(&cluster, &registration(1, "alice"))
        .await
        .expect("an id");
    let first = Edit {
        user_id: id,
        display_name: Some("Alice".into()),
        ..Edit::default()
    };
    cluster.depot(EDITS).append(&first).await.expect("edit");
    let second = Edit {
        user_id: id,
        height_cm: Some(170),
        ..Edit::default()
    };
    cluster.depot(EDITS).append(&second).await.expect("edit");
    let profiles = cluster.pstate(PROFILES);
    let name = profiles
        .select_one(PROFILES.key(&id).display_name())
        .await
        .expect("select");
    assert_eq!(name, Some("Alice".to_string()));
    let height = profiles
        .select_one(PROFILES.key(&id).height_cm())
        .await
        .expect("select");
    assert_eq!(height, Some(170));
    let absent = profiles
        .select_one(PROFILES.key(&(id + 1)).height_cm())
        .await;
    assert!(absent.is_err() || absent.is_ok_and(|height| height.is_none()));
}

/// S-11: a stream may process a registration again, and so may a client that retries.
#[tokio::test]
async fn a_repeated_registration_undoes_no_edit() {
    let cluster = InProcessCluster::new(4, 2).expect("a cluster");
    cluster.launch(Profiles).await.expect("launch");
    let first = registration(1, "alice");
    let id = register(&cluster, &first).await.expect("an id");
    let edit = Edit {
        user_id: id,
        password_hash: Some("a new one".into()),
        ..Edit::default()
    };
    cluster.depot(EDITS).append(&edit).await.expect("edit");
    assert_eq!(register(&cluster, &first).await, Some(id));
    let path = PROFILES.key(&id).password_hash();
    let hash = cluster.pstate(PROFILES).select_one(path).await;
    assert_eq!(hash.expect("select"), Some("a new one".to_string()));
}

#[tokio::test]
async fn an_edit_of_nobody_leaves_nothing_to_the_next_user() {
    let cluster = InProcessCluster::new(1, 1).expect("a cluster");
    cluster.launch(Profiles).await.expect("launch");
    let edit = Edit {
        display_name: Some("Mallory".into()),
        ..Edit::default()
    };
    let answer = cluster.depot(EDITS).append(&edit).await.expect("edit");
    assert_eq!(answer.returns["profiles"], false);
    assert_eq!(register(&cluster, &registration(1, "")).await, None);
    let id = register(&cluster, &registration(2, "alice")).await;
    assert_eq!(id, Some(0), "the id that was edited");
    let path = PROFILES.key(&0).display_name();
    let name = cluster.pstate(PROFILES).select_one(path).await;
    assert_eq!(name.expect("select"), None);
    let answer = cluster.depot(EDITS).append(&edit).await.expect("edit");
    assert_eq!(answer.returns["profiles"], true);
}
