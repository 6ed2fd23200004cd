//! Ranges of sorted maps, and where the partitions of a module's objects are.

use rama::prelude::*;

const PURCHASES: Depot<(String, String, u32, u64)> = Depot::named("*purchases");
const EVERYTHING: Depot<String> = Depot::named("*everything");
/// Store, product and minute to what was taken.
const TOTALS: PState<Map<String, Map<String, Map<u32, u64>>>> = PState::named("$$totals");
const PURCHASE_COUNT: PState<u64> = PState::named("$$purchase_count").global();
const ABOVE: Function<u64, bool, u64> = Function::named("above");

/// paths.SortedMapRange, with a global depot and a global PState beside.
struct Totals;

impl Module for Totals {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PURCHASES, |(store, ..)| store);
        m.depot(EVERYTHING, Partition::disallow()).global();
        m.function(ABOVE, |amount, limit| amount > limit);
        let mut s = m.stream("s");
        let (totals, count) = (s.pstate(TOTALS), s.pstate(PURCHASE_COUNT));
        s.source(PURCHASES)
            .inspect(move |task, (store, product, minute, amount)| {
                let total = totals.key(store).key(product).key(minute);
                total.modify(task, |total| *total += amount);
            })
            .map(|_, (_, product, ..)| product)
            .global_partition()
            .append(EVERYTHING, AckLevel::AppendAck, |product| product.clone())
            .each(move |task, _| count.update(task, |count| count.unwrap_or(0) + 1));
    }
}

const BOUGHT: [(&str, u32, u64); 10] = [
    ("witness-for-the-prosecution", 10, 3),
    ("witness-for-the-prosecution", 10, 11),
    ("witness-for-the-prosecution", 11, 12),
    ("witness-for-the-prosecution", 15, 4),
    ("witness-for-the-prosecution", 16, 17),
    ("all-about-eve", 10, 1),
    ("strangers-on-a-train", 11, 9),
    ("the-best-years-of-our-lives", 10, 3),
    ("inherit-the-wind", 10, 4),
    ("paths-of-glory", 12, 5),
];

/// The entries of a range that satisfy a function of the module, and the first keys of a map; O-4: one
/// partition per task of what is not global, and one in all of what is.
#[tokio::test]
async fn ranges_are_read_as_the_survey_says() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Totals).await.expect("launch");
    for (product, minute, amount) in BOUGHT {
        let purchase = ("blockbuster".to_owned(), product.to_owned(), minute, amount);
        cluster
            .depot(PURCHASES)
            .append(&purchase)
            .await
            .expect("append");
    }
    let totals = cluster.pstate(TOTALS);
    let store = TOTALS.key("blockbuster");
    let minutes = store.key("witness-for-the-prosecution").range(10..20);
    let high = totals
        .select(minutes.filter(ABOVE.with(10)))
        .await
        .expect("select");
    assert_eq!(high, [(10, 14), (11, 12), (16, 17)]);
    let first = totals
        .select(store.first_n(5).select_keys())
        .await
        .expect("select");
    let expected = [
        "all-about-eve",
        "inherit-the-wind",
        "paths-of-glory",
        "strangers-on-a-train",
        "the-best-years-of-our-lives",
    ];
    assert_eq!(first, expected);

    let tasks = cluster.status().modules[0].tasks;
    assert_eq!(cluster.depot(PURCHASES).partitions().expect("known"), tasks);
    assert_eq!(cluster.depot(EVERYTHING).partitions().expect("known"), 1);
    let appended = cluster
        .depot(EVERYTHING)
        .partition_info(0)
        .await
        .expect("info");
    assert_eq!(appended, 0..10);
    let count = cluster
        .pstate(PURCHASE_COUNT)
        .select_one(PURCHASE_COUNT)
        .await;
    assert_eq!(count.expect("select"), Some(10));
}

/// T-6: a PState by itself, written and read as on a task, selected from as by a client.
#[test]
fn a_pstate_is_tested_without_a_cluster() {
    let totals = TestPState::<Map<String, Map<u32, u64>>>::new();
    let (local, task) = (totals.local(), totals.task());
    for (product, minute, amount) in BOUGHT {
        local
            .key(product)
            .key(&minute)
            .modify(task, |total| *total += amount);
    }
    let client: PState<Map<String, Map<u32, u64>>> = PState::named("$$any");
    let late = client.key("witness-for-the-prosecution").range(12..);
    assert_eq!(totals.select(late).expect("selected"), [(15, 4), (16, 17)]);
    assert_eq!(local.key("paths-of-glory").first(task), Some((12, 5)));
}
