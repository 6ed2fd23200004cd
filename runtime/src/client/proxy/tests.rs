//! Proxies of real modules: the facts of spec §2.7 and §16.1, and random writes under faults.

mod faults;
mod scribe;

use crate::options::{Level, REACTIVITY_QUEUE_LIMIT};
use crate::pstate::PState;
use crate::schema::Map;
use crate::testing::{Bank, COUNTS, DEPOSITS, FUNDS, LINES, Words};
use crate::{
    AckLevel, Change, Depot, Diff, ErrorKind, InProcessCluster, Module, Partition, ProxyStatus,
    Setup, block_on,
};

const PAIRS: Depot<(String, String)> = Depot::named("*pairs");
const NESTED: PState<Map<String, Map<String, u64>>> = PState::named("$$nested");
const GLOBAL: PState<Map<String, u64>> = PState::named("$$global").global();

/// Counts pairs in a map of maps, and their second halves on one task.
struct Pairs;

impl Module for Pairs {
    fn define(&self, m: &mut Setup) {
        m.depot(
            PAIRS,
            Partition::hash_by(|pair: &(String, String)| pair.0.clone()),
        );
        let mut pairs = m.stream("pairs");
        let (nested, global) = (pairs.pstate(NESTED), pairs.pstate(GLOBAL));
        pairs
            .source(PAIRS)
            .map(move |task, (a, b)| {
                let count = nested.key(&a).key(&b);
                count.update(task, |n| n.unwrap_or(0) + 1);
                b
            })
            .global_partition()
            .each(move |task, b| global.key(&b).update(task, |n| n.unwrap_or(0) + 1));
    }
}

async fn append(cluster: &InProcessCluster, a: &str, b: &str) {
    let pair = (a.to_owned(), b.to_owned());
    cluster.depot(PAIRS).append(&pair).await.unwrap();
}

fn new<K, V>(value: V) -> Diff<K, V> {
    Diff::NewValue { value }
}

fn key(key: &str, value: u64) -> Diff<String, u64> {
    Diff::Key {
        key: key.to_owned(),
        diff: Box::new(new(value)),
    }
}

fn counts(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect()
}

/// BasicReactive, P-38, P-40: the value is there at once, and follows without being asked for.
#[test]
fn a_proxy_has_the_current_value() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let proxy = cluster.pstate(COUNTS).proxy(COUNTS.key("w")).await.unwrap();
        assert_eq!((*proxy.get(), proxy.status()), (None, ProxyStatus::Active));
        cluster
            .depot(LINES)
            .append(&"w w".to_owned())
            .await
            .unwrap();
        while *proxy.get() != Some(2) {
            cluster.sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}

/// CallbackReactive, P-41, P-42, P-47 (as fine as what is stored): a resync without an old value, then each key with the values
/// before and after.
#[test]
fn changes_of_a_map_name_their_keys_and_carry_both_values() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(Pairs).await.unwrap();
        append(&cluster, "a", "b").await;
        append(&cluster, "a", "c").await;
        let path = NESTED.key("a").all();
        let mut proxy = cluster.pstate(NESTED).proxy(path).await.unwrap();
        let first = proxy.next().await.unwrap();
        assert_eq!(*first.new, counts(&[("b", 1), ("c", 1)]));
        assert_eq!((first.diff, first.old), (Diff::Resync, None));
        append(&cluster, "a", "d").await;
        append(&cluster, "other", "d").await;
        append(&cluster, "a", "c").await;
        let Change { new, diff, old } = proxy.next().await.unwrap();
        assert_eq!(diff, key("d", 1));
        assert_eq!(*old.unwrap(), counts(&[("b", 1), ("c", 1)]));
        assert_eq!(*new, counts(&[("b", 1), ("c", 1), ("d", 1)]));
        let Change { new, diff, old } = proxy.next().await.unwrap();
        assert_eq!(diff, key("c", 2));
        assert_eq!(*old.unwrap(), counts(&[("b", 1), ("c", 1), ("d", 1)]));
        assert_eq!(*new, counts(&[("b", 1), ("c", 2), ("d", 1)]));
    });
}

/// MultiSubscriber: the same commits, each told at the place that is followed.
#[test]
fn every_proxy_is_told_of_its_own_place() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(Pairs).await.unwrap();
        let client = cluster.pstate(GLOBAL);
        let mut top = client.proxy(GLOBAL.all()).await.unwrap();
        let mut a = client.proxy(GLOBAL.key("a")).await.unwrap();
        let mut b = client.proxy(GLOBAL.key("b")).await.unwrap();
        assert_eq!(top.next().await.unwrap().diff, Diff::Resync);
        for second in ["a", "a", "c", "b"] {
            append(&cluster, "x", second).await;
        }
        for expected in [key("a", 1), key("a", 2), key("c", 1), key("b", 1)] {
            assert_eq!(top.next().await.unwrap().diff, expected);
        }
        let told = [Diff::Resync, new(Some(1)), new(Some(2))];
        for expected in told {
            assert_eq!(a.next().await.unwrap().diff, expected);
        }
        for expected in [Diff::Resync, new(Some(1))] {
            assert_eq!(b.next().await.unwrap().diff, expected);
        }
        // Nothing else was told: the next is the end.
        for proxy in [&mut a, &mut b] {
            proxy.close();
            assert_eq!(proxy.next().await.unwrap().diff, Diff::Destroyed);
        }
    });
}

/// P-39a, spec §20.12: a proxy of what is not there yet tells that a microbatch has made it; P-44.
#[test]
fn a_proxy_signals_that_a_microbatch_is_done() {
    let cluster = InProcessCluster::new(2, 2).unwrap();
    block_on(async {
        cluster.launch(Bank::default()).await.unwrap();
        let level = AckLevel::AppendAck;
        for user in 0..20 {
            let client = cluster.pstate(FUNDS);
            let mut done = client.proxy(FUNDS.key(&user)).await.unwrap();
            assert_eq!(*done.next().await.unwrap().new, None);
            cluster
                .depot(DEPOSITS)
                .append_with(&(user, 7), level)
                .await
                .unwrap();
            let Change {
                new: value,
                diff,
                old,
            } = done.next().await.unwrap();
            assert_eq!((*value, diff), (Some(7), new(Some(7))));
            assert_eq!(*old.unwrap(), None);
            done.close();
            assert_eq!(done.next().await.unwrap().diff, Diff::Destroyed);
            assert!(done.next().await.is_none());
            assert_eq!(done.status(), ProxyStatus::Terminated);
            assert_eq!(*done.get(), Some(7));
        }
    });
}

/// P-46: who is further behind than the option says gets one resync, and then what follows.
#[test]
fn a_slow_reader_gets_a_resync() {
    let cluster = InProcessCluster::new(1, 1).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let (level, option) = (
            Level::PState("counts".to_owned()),
            REACTIVITY_QUEUE_LIMIT.name,
        );
        cluster.set_option("Words", level, option, 4).await.unwrap();
        let client = cluster.pstate(COUNTS);
        let mut slow = client.proxy(COUNTS.key("w")).await.unwrap();
        assert_eq!(slow.next().await.unwrap().diff, Diff::Resync);
        let mut keen = client.proxy(COUNTS.key("w")).await.unwrap();
        assert_eq!(keen.next().await.unwrap().diff, Diff::Resync);
        for round in 1..=20 {
            cluster.depot(LINES).append(&"w".to_owned()).await.unwrap();
            assert_eq!(keen.next().await.unwrap().diff, new(Some(round)));
        }
        let mut told = Vec::new();
        loop {
            let Change { new, diff, .. } = slow.next().await.unwrap();
            told.push(diff);
            if *new == Some(20) {
                break;
            }
        }
        assert!(told.contains(&Diff::Resync) && told.len() <= 5, "{told:?}");
        assert_eq!(slow.error(), None);
    });
}

/// P-43, P-45: a proxy survives its module; without the cluster it ends.
#[test]
fn a_proxy_waits_for_its_module_and_ends_with_the_cluster() {
    let cluster = InProcessCluster::new(2, 2).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let mut proxy = cluster.pstate(COUNTS).proxy(COUNTS.key("w")).await.unwrap();
        assert_eq!(proxy.next().await.unwrap().diff, Diff::Resync);
        cluster.update(Words).await.unwrap();
        let again = proxy.next().await.unwrap();
        assert_eq!(
            (again.diff, again.old.as_deref()),
            (Diff::Resync, Some(&None))
        );
        cluster.depot(LINES).append(&"w".to_owned()).await.unwrap();
        assert_eq!(proxy.next().await.unwrap().diff, new(Some(1)));
        cluster.shutdown().await.unwrap();
        let end = proxy.next().await.unwrap();
        assert_eq!(end.diff, Diff::UngracefulTermination);
        assert_eq!((*end.new, proxy.next().await.is_none()), (Some(1), true));
        assert_eq!(proxy.status(), ProxyStatus::TerminatedUngracefully);
        assert!(proxy.error().unwrap().contains("not running"));
    });
}

/// P-33, P-39: what cannot be followed is said at once.
#[test]
fn what_cannot_be_followed_is_refused() {
    let cluster = InProcessCluster::new(2, 1).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let client = cluster.pstate(COUNTS);
        let error = client.proxy(COUNTS.all()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("begin with a key"), "{error}");
        let error = client.proxy(FUNDS.key(&1)).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Invalid));
        let funds = cluster.pstate(FUNDS);
        let error = funds.proxy(FUNDS.key(&1)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}
