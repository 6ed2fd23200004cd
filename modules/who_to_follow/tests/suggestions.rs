//! What a user of the module would check: suggestions are those whom most of one's own follow.
//!
//! Relies on an in-process cluster of random shape and on simulations; ticks are made by hand (D-13).
//! Values are those of the survey's WhoToFollow (spec 16.3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rama::prelude::*;
use who_to_follow::{FOLLOWS, Follow, SUGGESTED, TICKS, WhoToFollow};

const MODULE: WhoToFollow = WhoToFollow {
    suggestions: 3,
    accounts_per_tick: 15,
    ticks_by_hand: true,
};

async fn suggested(cluster: &Cluster, account: u64) -> Option<Vec<u64>> {
    let suggested = cluster
        .pstate(SUGGESTED)
        .select_one(SUGGESTED.key(&account))
        .await;
    suggested.expect("select")
}

async fn follow(cluster: &Cluster, from: u64, others: &[u64]) {
    for to in others {
        let follow = Follow { from, to: *to };
        cluster
            .depot(FOLLOWS)
            .append(&follow)
            .await
            .expect("append");
    }
}

/// Makes a tick and waits until it is processed; `ticks` counts them.
async fn tick(cluster: &InProcessCluster, ticks: &mut u64) {
    cluster.depot(TICKS).append(&()).await.expect("tick");
    *ticks += 1;
    let processed = cluster
        .wait_for_processed("WhoToFollow", "who-to-follow", *ticks)
        .await;
    processed.expect("processed");
}

/// D-13, F-30, P-2: a microbatch reads what a stream of the module writes, hop by hop.
#[tokio::test]
async fn those_whom_most_of_ones_own_follow_are_suggested() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(MODULE).await.expect("launch");
    follow(&cluster, 1, &[2, 3, 4, 5]).await;
    follow(&cluster, 2, &[1, 3, 6, 7, 8, 9, 10]).await;
    follow(&cluster, 3, &[1, 8, 9, 11, 12]).await;
    follow(&cluster, 4, &[8, 3, 10, 13, 14]).await;
    follow(&cluster, 5, &[1, 3, 10]).await;
    for from in 6..10 {
        follow(&cluster, from, &[12]).await;
    }
    let mut ticks = 0;
    tick(&cluster, &mut ticks).await;
    assert_eq!(suggested(&cluster, 1).await, Some(vec![8, 10, 9]));
    assert_eq!(suggested(&cluster, 6).await, None, "12 follows nobody");

    follow(&cluster, 1, &[8]).await;
    tick(&cluster, &mut ticks).await;
    let now = suggested(&cluster, 1).await.expect("suggestions");
    assert_eq!(now[..2], [10, 9]);
    follow(&cluster, 1, &[6, 7, 9, 10, 11, 12, 13, 14]).await;
    tick(&cluster, &mut ticks).await;
    assert_eq!(
        suggested(&cluster, 1).await,
        None,
        "nobody is left, and nothing stays behind"
    );
}

/// Of many accounts on a task each tick takes a few more, and then the first again.
#[tokio::test]
async fn every_account_has_its_turn_again_and_again() {
    let cluster = InProcessCluster::new(1, 1).expect("a cluster");
    let module = WhoToFollow {
        accounts_per_tick: 2,
        ..MODULE
    };
    cluster.launch(module).await.expect("launch");
    let ring = [1, 2, 3, 4, 5, 6];
    for account in ring {
        follow(&cluster, account, &[account % 6 + 1]).await;
    }
    let mut ticks = 0;
    for turn in 1..=3 {
        tick(&cluster, &mut ticks).await;
        for account in ring {
            let expected = (account <= 2 * turn).then(|| vec![(account + 1) % 6 + 1]);
            assert_eq!(
                suggested(&cluster, account).await,
                expected,
                "{account} in turn {turn}"
            );
        }
    }
    // A round ends with an empty turn; then 1 has its turn once more.
    follow(&cluster, 2, &[5]).await;
    tick(&cluster, &mut ticks).await;
    assert_eq!(suggested(&cluster, 1).await, Some(vec![3]));
    tick(&cluster, &mut ticks).await;
    assert_eq!(suggested(&cluster, 1).await, Some(vec![3, 5]));
}

/// What is to be suggested, by the records alone: per account the counts of candidates.
fn counts(follows: &[Follow]) -> BTreeMap<u64, BTreeMap<u64, u64>> {
    let mut followed: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for follow in follows {
        followed.entry(follow.from).or_default().insert(follow.to);
    }
    let none = BTreeSet::new();
    let mut counts: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    for (account, others) in &followed {
        for candidate in others
            .iter()
            .flat_map(|other| followed.get(other).unwrap_or(&none))
        {
            if candidate != account && !others.contains(candidate) {
                *counts
                    .entry(*account)
                    .or_default()
                    .entry(*candidate)
                    .or_default() += 1;
            }
        }
    }
    counts
}

/// M-1: what a round of turns writes is what follows from the records, whatever fails meanwhile.
#[test]
fn suggestions_are_those_of_the_records_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        let module = WhoToFollow {
            accounts_per_tick: 4,
            ..MODULE
        };
        simulation.run(module, |cluster| async move {
            for number in 0..40 {
                let (from, to) = (cluster.random_u64() % 8, cluster.random_u64() % 8);
                let (follows, follow) = (cluster.depot(FOLLOWS), Follow { from, to });
                let append = follows.append_with(&follow, AckLevel::AppendAck);
                // Whether it was taken is asked of the depot, below.
                if append.await.is_err() {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
                if number % 8 == 0 {
                    let _ = cluster.depot(TICKS).append(&()).await;
                }
            }
            cluster.calm().await;
            let counts = counts(&cluster.depot(FOLLOWS).read_all().await.expect("read"));
            let mut right = false;
            for _ in 0..200 {
                cluster.depot(TICKS).append(&()).await.expect("tick");
                right = true;
                for account in 0..8 {
                    let found = suggested(&cluster, account).await.unwrap_or_default();
                    let none = BTreeMap::new();
                    let counts = counts.get(&account).unwrap_or(&none);
                    let mut best: Vec<u64> = counts.values().copied().collect();
                    best.sort_by(|one, other| other.cmp(one));
                    best.truncate(3);
                    let found = found
                        .iter()
                        .map(|found| counts.get(found).copied().unwrap_or(0));
                    right &= found.eq(best);
                }
                if right {
                    break;
                }
                cluster.sleep(Duration::from_millis(50)).await;
            }
            assert!(right, "seed {seed}: {counts:?}");
        });
    }
}
