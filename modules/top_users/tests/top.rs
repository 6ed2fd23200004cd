//! What a user of the module would check: the list is that of the greatest totals, in order, whatever
//! fails.
//!
//! Relies on an in-process cluster of random shape and on simulations. Values follow the survey's
//! TopUsers (spec 16.2).

use std::collections::BTreeMap;
use std::time::Duration;

use rama::prelude::*;
use top_users::{PURCHASES, Purchase, TOP, TOTALS, TopUsers, USERS};

const MODULE: TopUsers = TopUsers { count: 3 };
const ALICE: u64 = 0;
const BOB: u64 = 1;
const CHARLIE: u64 = 2;
const DAVID: u64 = 3;
const EMILY: u64 = 4;

async fn top(cluster: &Cluster) -> Vec<(u64, u64)> {
    let top = cluster.pstate(TOP).select_one(TOP).await;
    top.expect("select").unwrap_or_default()
}

/// P-34: the totals that changed reach the list, which is in order, and of which the task
/// answers with what is asked for.
#[tokio::test]
async fn a_purchase_moves_a_user_up_the_list() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(MODULE).await.expect("launch");
    let purchases = cluster.depot(PURCHASES);
    for (user, cents) in [
        (ALICE, 300),
        (BOB, 200),
        (CHARLIE, 100),
        (DAVID, 100),
        (EMILY, 400),
    ] {
        let purchase = Purchase { user, cents };
        purchases.append(&purchase).await.expect("append");
    }
    let processed = cluster.wait_for_processed("TopUsers", "top", 5).await;
    processed.expect("processed");
    assert_eq!(
        top(&cluster).await,
        [(EMILY, 400), (ALICE, 300), (BOB, 200)]
    );

    let purchase = Purchase {
        user: DAVID,
        cents: 250,
    };
    purchases.append(&purchase).await.expect("append");
    let processed = cluster.wait_for_processed("TopUsers", "top", 6).await;
    processed.expect("processed");
    assert_eq!(
        top(&cluster).await,
        [(EMILY, 400), (DAVID, 350), (ALICE, 300)]
    );
    let users = cluster.pstate(TOP).select_one(TOP.root().view(USERS)).await;
    assert_eq!(users.expect("select"), Some(vec![EMILY, DAVID, ALICE]));
}

/// The totals of all purchases that are in the depot.
async fn totals(cluster: &Cluster) -> BTreeMap<u64, u64> {
    let mut totals = BTreeMap::new();
    for purchase in cluster.depot(PURCHASES).read_all().await.expect("read") {
        *totals.entry(purchase.user).or_default() += u64::from(purchase.cents);
    }
    totals
}

/// M-1, A-13: whatever fails, each purchase counts once, in the totals and in the list.
#[test]
fn every_purchase_counts_once_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        simulation.run(MODULE, |cluster| async move {
            for _ in 0..25 {
                let (user, cents) = (cluster.random_u64() % 8, cluster.random_u64() % 1000);
                let purchase = Purchase {
                    user,
                    cents: cents as u32,
                };
                let purchases = cluster.depot(PURCHASES);
                // Whether it is in the depot is asked of the depot, below.
                if purchases
                    .append_with(&purchase, AckLevel::AppendAck)
                    .await
                    .is_err()
                {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
            }
            cluster.calm().await;
            let expected = totals(&cluster).await;
            let mut best: Vec<u64> = expected.values().copied().collect();
            best.sort_by(|one, other| other.cmp(one));
            best.truncate(3);
            let listed =
                |top: &[(u64, u64)]| top.iter().map(|(_, total)| *total).collect::<Vec<_>>();
            for _ in 0..200 {
                if listed(&top(&cluster).await) == best {
                    break;
                }
                cluster.sleep(Duration::from_millis(50)).await;
            }
            let top = top(&cluster).await;
            assert_eq!(listed(&top), best, "seed {seed}");
            for (user, total) in top {
                assert_eq!(expected[&user], total, "seed {seed}: user {user}");
            }
            for (user, expected) in expected {
                let total = cluster.pstate(TOTALS).select_one(TOTALS.key(&user)).await;
                assert_eq!(
                    total.expect("select"),
                    Some(expected),
                    "seed {seed}: user {user}"
                );
            }
        });
    }
}
