//! Microbatch topologies: aggregation into PStates, captured new values, materialized rows.

use rama::prelude::*;

const WORDS: Depot<String> = Depot::named("*words");
const PAIRS: Depot<(String, String)> = Depot::named("*pairs");
const NUMBERS: Depot<u64> = Depot::named("*numbers");
const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
const PAIR_COUNTS: PState<Map<String, Map<String, u64>>> = PState::named("$$pair_counts");
const SUM: PState<u64> = PState::named("$$sum").global().initial(|| 0);
const SUM_OF_NEXT: PState<u64> = PState::named("$$sum_of_next").global().initial(|| 0);

/// Appends records that one microbatch is to take, and waits until it has; `processed` are those of
/// before.
async fn one_batch<T: Record>(
    (cluster, module): (&InProcessCluster, &str),
    depot: Depot<T>,
    records: &[T],
    processed: &mut u64,
) {
    cluster.pause(module, "mb").await.expect("pause");
    for record in records {
        let appended = cluster
            .depot(depot)
            .append_with(record, AckLevel::AppendAck)
            .await;
        appended.expect("append");
    }
    cluster.resume(module, "mb").await.expect("resume");
    *processed += records.len() as u64;
    let all = cluster.wait_for_processed(module, "mb", *processed).await;
    all.expect("processed");
}

fn words<const N: usize>(words: [&str; N]) -> [String; N] {
    words.map(str::to_owned)
}

async fn count(cluster: &Cluster, pstate: PState<Map<String, u64>>, key: &str) -> Option<u64> {
    cluster
        .pstate(pstate)
        .select_one(pstate.key(key))
        .await
        .expect("select")
}

async fn global(cluster: &Cluster, pstate: PState<u64>) -> u64 {
    let value = cluster
        .pstate(pstate)
        .select_one(pstate)
        .await
        .expect("select");
    value.expect("an initial value")
}

/// microbatch.ExampleMicrobatch, with aggregators.Aggregate, dataflow.GlobalSum and
/// dataflow.Materialize in one.
struct Sums;

impl Module for Sums {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PAIRS, |(key, _)| key);
        m.depot(NUMBERS, Partition::random());
        let mut mb = m.microbatch("mb");
        let (counts, pair_counts) = (mb.pstate(COUNTS), mb.pstate(PAIR_COUNTS));
        let (sum, sum_of_next) = (mb.pstate(SUM), mb.pstate(SUM_OF_NEXT));
        let (every, of_pair) = mb.source(PAIRS).fork();
        let every = every.group_by(|(key, _)| key.clone());
        every.agg_into(counts, |of| of.count());
        let of_pair = of_pair.group_by_at(|(key, _)| key.clone(), |pair| pair.clone());
        of_pair.agg_at(
            move |(key, other)| pair_counts.key(key).key(other),
            |of| of.count(),
        );
        let rows = mb.source(NUMBERS).map(|_, number| (number, number + 1));
        let (row, next) = rows.materialize().fork();
        row.global_partition()
            .agg_into(sum, |of| of.sum(|row| row.0));
        next.global_partition()
            .agg_into(sum_of_next, |of| of.sum(|row| row.1));
    }
}

/// M-11, A-2, A-3, F-31, F-33: two sources; aggregation into a value that has an initial one, into a
/// map, and below two keys; rows that are kept are read twice.
#[tokio::test]
async fn sums_and_counts_of_two_sources_are_kept() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Sums).await.expect("launch");
    assert_eq!(global(&cluster, SUM).await, 0);
    let mut processed = 0;
    one_batch((&cluster, "Sums"), NUMBERS, &[1, 3], &mut processed).await;
    one_batch((&cluster, "Sums"), NUMBERS, &[7], &mut processed).await;
    let pairs = [
        ("a", "b"),
        ("a", "b"),
        ("a", "c"),
        ("x", "y"),
        ("x", "y"),
        ("x", "y"),
        ("x", "z"),
    ];
    let pairs = pairs.map(|(one, other)| (one.to_owned(), other.to_owned()));
    one_batch((&cluster, "Sums"), PAIRS, &pairs, &mut processed).await;
    assert_eq!(global(&cluster, SUM).await, 11);
    assert_eq!(global(&cluster, SUM_OF_NEXT).await, 14);
    assert_eq!(count(&cluster, COUNTS, "a").await, Some(3));
    assert_eq!(count(&cluster, COUNTS, "x").await, Some(4));
    for (key, expected) in [("a", [("b", 2), ("c", 1)]), ("x", [("y", 3), ("z", 1)])] {
        let counts = PAIR_COUNTS.key(key).all();
        let counts = cluster
            .pstate(PAIR_COUNTS)
            .select(counts)
            .await
            .expect("select");
        assert_eq!(
            counts,
            expected.map(|(other, count)| (other.to_owned(), count))
        );
    }
}

const ROWS: Depot<(String, String, i64)> = Depot::named("*rows");
const STATS: PState<Map<String, Map<String, (u64, i64)>>> = PState::named("$$stats");
const CAPTURED: PState<Map<String, List<(String, u64, i64)>>> = PState::named("$$captured");

/// aggregators.CaptureNewValInto.
struct Captures;

impl Module for Captures {
    fn define(&self, m: &mut Setup) {
        m.depot(ROWS, Partition::random());
        let mut mb = m.microbatch("mb");
        let (stats, captured) = (mb.pstate(STATS), mb.pstate(CAPTURED));
        mb.source(ROWS)
            .group_by_at(|row| row.0.clone(), |row| (row.0.clone(), row.1.clone()))
            .agg_at(
                move |(key, other)| stats.key(key).key(other),
                |of| (of.count(), of.sum(|row| row.2)),
            )
            .new_values()
            .each(move |task, ((key, other), (count, sum))| {
                captured.key(&key).append(task, (other, count, sum));
            });
    }
}

/// F-30: each path that a batch changed comes once, with what is there now; behind the
/// aggregation PStates are written.
#[tokio::test]
async fn what_a_batch_changed_is_captured_once() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Captures).await.expect("launch");
    let row = |key: &str, other: &str, value| (key.to_owned(), other.to_owned(), value);
    let mut processed = 0;
    let first = [
        row("a", "b", 3),
        row("a", "c", 2),
        row("d", "b", 9),
        row("a", "b", 4),
    ];
    one_batch((&cluster, "Captures"), ROWS, &first, &mut processed).await;
    let second = [row("a", "b", 1), row("f", "g", 11)];
    one_batch((&cluster, "Captures"), ROWS, &second, &mut processed).await;
    for (key, expected) in [
        ("a", &[("b", 2, 7), ("c", 1, 2), ("b", 3, 8)][..]),
        ("d", &[("b", 1, 9)]),
        ("f", &[("g", 1, 11)]),
    ] {
        let captured = CAPTURED.key(key).all();
        let captured = cluster
            .pstate(CAPTURED)
            .select(captured)
            .await
            .expect("select");
        let expected = expected
            .iter()
            .map(|(other, count, sum)| ((*other).into(), *count, *sum));
        assert_eq!(captured, expected.collect::<Vec<_>>(), "{key}");
    }
}

const MAXES: PState<Map<String, u64>> = PState::named("$$maxes");
const MINS: PState<Map<String, u64>> = PState::named("$$mins");

/// aggregators.TmpPState: counts of one batch, read by two more aggregations.
struct Extremes;

impl Module for Extremes {
    fn define(&self, m: &mut Setup) {
        m.depot(WORDS, Partition::random());
        let mut mb = m.microbatch("mb");
        let (maxes, mins) = (mb.pstate(MAXES), mb.pstate(MINS));
        let counts = mb
            .source(WORDS)
            .group_by(|word| word.clone())
            .agg(|of| of.count());
        let (high, low) = counts.fork();
        let high = high.group_by(|(word, _)| word.clone());
        high.agg_into(maxes, |of| of.max(|(_, count)| *count));
        let low = low.group_by(|(word, _)| word.clone());
        low.agg_into(mins, |of| of.min(|(_, count)| *count));
    }
}

/// F-21, F-32, F-35, A-12: what one aggregation comes to is the source of others.
#[tokio::test]
async fn the_counts_of_a_batch_are_aggregated_further() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Extremes).await.expect("launch");
    let mut processed = 0;
    let batch = words(["apple", "apple", "plum"]);
    one_batch((&cluster, "Extremes"), WORDS, &batch, &mut processed).await;
    assert_eq!(count(&cluster, MAXES, "apple").await, Some(2));
    assert_eq!(count(&cluster, MINS, "apple").await, Some(2));
    let batch = words(["apple", "banana", "banana"]);
    one_batch((&cluster, "Extremes"), WORDS, &batch, &mut processed).await;
    assert_eq!(count(&cluster, MAXES, "apple").await, Some(2));
    assert_eq!(count(&cluster, MINS, "apple").await, Some(1));
}

const TOP: PState<Vec<(String, u64)>> = PState::named("$$top").global();

/// aggregators.TopNWords.
struct TopWords;

impl Module for TopWords {
    fn define(&self, m: &mut Setup) {
        m.depot_by(WORDS, |word| word);
        let mut mb = m.microbatch("mb");
        let (counts, top) = (mb.pstate(COUNTS), mb.pstate(TOP));
        mb.source(WORDS)
            .group_by(|word| word.clone())
            .agg_into(counts, |of| of.count())
            .new_values()
            .global_partition()
            .agg_into(top, |of| {
                of.top(3, |(_, count)| *count).id(|(word, _)| word.clone())
            });
    }
}

/// a list without an initial value is made; it is always in order.
#[tokio::test]
async fn the_top_words_follow_their_counts() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(TopWords).await.expect("launch");
    let mut processed = 0;
    let mut then = async |words: &[String], expected: [(&str, u64); 3]| {
        one_batch((&cluster, "TopWords"), WORDS, words, &mut processed).await;
        let top = cluster.pstate(TOP).select_one(TOP).await.expect("select");
        assert_eq!(
            top,
            Some(
                expected
                    .map(|(word, count)| (word.to_owned(), count))
                    .to_vec()
            )
        );
    };
    let batch = words([
        "apple",
        "orange",
        "strawberry",
        "papaya",
        "banana",
        "banana",
        "plum",
        "plum",
        "apple",
        "apple",
        "apple",
        "plum",
    ]);
    then(&batch, [("apple", 4), ("plum", 3), ("banana", 2)]).await;
    let batch = words(["orange", "orange", "orange", "apple", "orange", "orange"]);
    then(&batch, [("orange", 6), ("apple", 5), ("plum", 3)]).await;
}

const CROSSED: PState<Map<String, List<u64>>> = PState::named("$$crossed");

/// dataflow.FollowThreshold: something happens when a count reaches 2, and 6.
struct Thresholds;

impl Module for Thresholds {
    fn define(&self, m: &mut Setup) {
        m.depot(PAIRS, Partition::random());
        let mut mb = m.microbatch("mb");
        let (counts, crossed) = (mb.pstate(COUNTS), mb.pstate(CROSSED));
        mb.source(PAIRS)
            .group_by(|(user, _)| user.clone())
            .agg(|of| of.count())
            .each(move |task, (user, more)| {
                let old = counts.key(&user).get(task).unwrap_or(0);
                for threshold in [2, 6] {
                    if old < threshold && old + more >= threshold {
                        crossed.key(&user).append(task, threshold);
                    }
                }
                counts.key(&user).set(task, old + more);
            });
    }
}

/// F-30: behind an aggregation the old value is compared with the new one.
#[tokio::test]
async fn a_threshold_is_crossed_once() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Thresholds).await.expect("launch");
    let mut processed = 0;
    let mut then = async |users: &[&str], james: &[u64], vivien: &[u64]| {
        let follows = users
            .iter()
            .map(|user| ((*user).to_owned(), "somebody".to_owned()));
        let follows: Vec<_> = follows.collect();
        one_batch((&cluster, "Thresholds"), PAIRS, &follows, &mut processed).await;
        for (user, expected) in [("jamescagney", james), ("vivienleigh", vivien)] {
            let crossed = cluster
                .pstate(CROSSED)
                .select(CROSSED.key(user).all())
                .await;
            assert_eq!(crossed.expect("select"), expected, "{user}");
        }
    };
    then(&["jamescagney", "vivienleigh", "dorisday"], &[], &[]).await;
    then(&["jamescagney", "jamescagney"], &[2], &[]).await;
    let third = ["jamescagney", "jamescagney", "vivienleigh", "jamescagney"];
    then(&third, &[2, 6], &[2]).await;
}
