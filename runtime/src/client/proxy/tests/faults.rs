//! Proxies in a simulated world: power cuts, broken links, disk errors, deliberate mistakes.

use std::time::Duration;

use super::scribe::{Followers, KINDS, LAST, ORDERS, Order, Scribe};
use crate::mutants::Mutant;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, Change, Diff, ProxyStatus};

fn order(random: u64) -> Order {
    let (what, at) = ((random % KINDS) as u8, (random >> 8) as u8 % 2);
    (what, at, (random >> 16) as u8 % 8, random >> 24 & 7)
}

/// Writes at random and follows meanwhile; in the end all values are those that a select answers.
/// Answers how many changes were told.
async fn write_and_follow(cluster: &SimulatedCluster, seed: u64, rounds: u64) -> u64 {
    let mut all = [
        Followers::of(cluster, 0).await,
        Followers::of(cluster, 1).await,
    ];
    let orders = cluster.depot(ORDERS);
    for _ in 0..rounds {
        let order = order(cluster.random_u64());
        if let Err(error) = orders.append_with(&order, AckLevel::AppendAck).await {
            assert!(error.kind() != crate::ErrorKind::Invalid, "{error:#}");
            cluster.sleep(Duration::from_millis(5)).await;
        }
        let which = cluster.random_u64() % 4;
        if which < 2 {
            all[which as usize].read(seed);
        }
    }
    cluster.calm().await;
    for at in 0..2_u8 {
        let followers = &mut all[usize::from(at)];
        let mut quiet = 0;
        while quiet < 20 {
            cluster.sleep(Duration::from_millis(20)).await;
            followers.read(seed);
            let agree = followers.agree(cluster, at).await;
            quiet = if agree.is_ok_and(|agree| agree) {
                quiet + 1
            } else {
                0
            };
        }
    }
    all.iter().map(Followers::told).sum()
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    0..count
}

/// P-41, P-42, P-48: every change leads from its old value to its new one, streams and
/// microbatches alike, on one machine and over links.
#[test]
fn diffs_applied_to_the_old_value_give_the_new_one() {
    for seed in seeds(24) {
        let world = Simulation::seed(seed)
            .threads(2)
            .machines(1 + (seed % 2) as u32);
        let exact = seed % 4 < 2;
        let told = world.run(Scribe { exact }, move |cluster| async move {
            cluster.calm().await;
            write_and_follow(&cluster, seed, 80).await
        });
        let told = told.value;
        assert!(told > 14, "seed {seed}: {told}");
    }
}

/// P-43: power cuts, broken links and disk errors end in resyncs, never in a wrong value.
#[test]
fn proxies_survive_faults() {
    for seed in seeds(24) {
        let world = Simulation::seed(seed)
            .threads(2)
            .machines(1 + (seed % 2) as u32)
            .faults(Faults::all());
        let exact = seed % 4 < 2;
        world.run(Scribe { exact }, move |cluster| async move {
            write_and_follow(&cluster, seed, 60).await;
        });
    }
}

/// P-43, P-45: a change that is not told is found by its checksum and the value read again; ten
/// such errors end the proxy.
#[test]
fn a_dropped_diff_is_found_and_healed() {
    let world = || Simulation::seed(3).threads(1);
    let run = |mutant, rounds: u64| {
        world()
            .mutant(mutant)
            .run(Scribe { exact: false }, move |cluster| async move {
                cluster.calm().await;
                let client = cluster.pstate(LAST);
                let mut proxy = client.proxy(LAST.key(&0)).await.unwrap();
                assert_eq!(proxy.next().await.unwrap().diff, Diff::Resync);
                let mut diffs = Vec::new();
                for value in 1..=rounds {
                    cluster
                        .depot(ORDERS)
                        .append(&(0, 0, 0, value))
                        .await
                        .unwrap();
                    loop {
                        let Change { new, diff, .. } = proxy.next().await.unwrap();
                        let end = diff == Diff::UngracefulTermination;
                        diffs.push(diff);
                        if end || *new == Some(value) {
                            break;
                        }
                    }
                    if proxy.status() != ProxyStatus::Active {
                        break;
                    }
                }
                (diffs, proxy.error())
            })
    };
    let (diffs, error) = run(None, 3).value;
    assert!(
        diffs
            .iter()
            .all(|diff| matches!(diff, Diff::NewValue { .. })),
        "{diffs:?}"
    );
    assert_eq!(error, None);
    let dropped = Some(Mutant::DroppedDiff);
    let (diffs, error) = run(dropped, 3).value;
    assert_eq!(diffs, [Diff::Resync, Diff::Resync, Diff::Resync]);
    assert!(error.unwrap().contains("checksum"));
    let (diffs, _) = run(dropped, 12).value;
    assert_eq!(diffs.len(), 10);
    assert_eq!(diffs.last(), Some(&Diff::UngracefulTermination));
}

/// P-46: over a link, too, who is too far behind gets one resync; the task holds no more for it.
#[test]
fn a_slow_reader_over_a_link_gets_a_resync() {
    let world = Simulation::seed(11).tasks(2).threads(2).machines(2);
    world.run(Scribe { exact: false }, |cluster| async move {
        cluster.calm().await;
        let client = cluster.pstate(LAST);
        let mut slow = client.proxy(LAST.key(&0)).await.unwrap();
        let last = crate::limits::PROXY_WAITING_MAX as u64 * 2;
        for value in 1..=last {
            let order: Order = (0, 0, 0, value);
            cluster.depot(ORDERS).append(&order).await.unwrap();
        }
        while *slow.get() != Some(last) {
            cluster.sleep(Duration::from_millis(1)).await;
        }
        let mut resyncs = 0;
        loop {
            let Change { new, diff, .. } = slow.next().await.unwrap();
            resyncs += u64::from(diff == Diff::Resync);
            if *new == Some(last) {
                break;
            }
        }
        assert!(resyncs >= 2, "the first value, and what was too much");
        assert_eq!(slow.error(), None);
    });
}
