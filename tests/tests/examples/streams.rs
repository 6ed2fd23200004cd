//! Stream topologies: two-sided counts, ack returns, partitioners, an update.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rama::prelude::*;

const PAIRS: Depot<(String, String)> = Depot::named("*pairs");
const MARKS: Depot<String> = Depot::named("*marks");
const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
const SUBCOUNTS: PState<Map<String, Map<String, u64>>> = PState::named("$$subcounts");

/// stream.BasicStreamTopology.
struct Basic;

impl Module for Basic {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PAIRS, |(one, _)| one);
        m.depot(MARKS, Partition::random());
        let mut s = m.stream("s");
        let (counts, subcounts) = (s.pstate(COUNTS), s.pstate(SUBCOUNTS));
        let count = move |task: &Task, one: &String, other: &String| {
            counts.key(one).modify(task, |count| *count += 1);
            subcounts
                .key(one)
                .key(other)
                .modify(task, |count| *count += 1);
        };
        s.source(PAIRS)
            .inspect(move |task, (one, other)| count(task, one, other))
            .filter(|_, (one, other)| one != other)
            .hash_partition_by(|(_, other)| other)
            .each(move |task, (one, other)| count(task, &other, &one));
        s.source(MARKS).ack_return(|task, _| task.id()).done();
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.into(), other.into())
}

/// S-1, A-4, A-6: two sources in one topology; outside of batches, what an aggregation would do to a
/// stored value is a change of it, and what is missing on the way to it is made.
#[tokio::test]
async fn pairs_are_counted_on_both_sides() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Basic).await.expect("launch");
    for (one, other) in [("a", "b"), ("b", "c"), ("a", "a")] {
        cluster
            .depot(PAIRS)
            .append(&pair(one, other))
            .await
            .expect("append");
    }
    for (key, expected) in [("a", 2), ("b", 2), ("c", 1)] {
        let count = cluster.pstate(COUNTS).select_one(COUNTS.key(key)).await;
        assert_eq!(count.expect("select"), Some(expected), "{key}");
    }
    let of_b = cluster
        .pstate(SUBCOUNTS)
        .select(SUBCOUNTS.key("b").all())
        .await;
    assert_eq!(of_b.expect("select"), [("a".into(), 1), ("c".into(), 1)]);
    for mark in ["X", "Y"] {
        let marked = cluster
            .depot(MARKS)
            .append(&mark.to_owned())
            .await
            .expect("append");
        assert_eq!(
            marked.returns["s"], marked.partition,
            "it was where it was appended"
        );
    }
}

const WORDS: Depot<String> = Depot::named("*words");
const NUMBERS: Depot<u64> = Depot::named("*numbers");

/// stream.BasicAckReturn and stream.SumAckReturn.
struct AckReturns;

impl Module for AckReturns {
    fn define(&self, m: &mut Setup) {
        m.depot_by(WORDS, |word| word);
        m.depot_by(NUMBERS, |number| number);
        let mut s = m.stream("words");
        let counts = s.pstate(COUNTS);
        s.source(WORDS)
            .inspect(move |task, word| counts.key(word).modify(task, |count| *count += 1))
            .ack_return(move |task, word| {
                BTreeMap::from([(word.clone(), counts.key(word).get(task))])
            })
            .done();
        let sums = SourceOptions::new().ack_return_agg(|one: u64, other: u64| one + other);
        m.stream("sums")
            .source_with(NUMBERS, sums)
            .flat_map(|_, number| (0..number).map(move |_| number))
            .shuffle_partition()
            .ack_return(|_, number| *number)
            .done();
    }
}

/// D-19, S-7, S-18, S-19, S-20, S-25, R-4: what is returned saw the event's own writes; who returns nothing is not
/// in the answer.
#[tokio::test]
async fn appends_are_answered_with_what_came_of_them() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(AckReturns).await.expect("launch");
    for count in 1..=3 {
        let appended = cluster
            .depot(WORDS)
            .append(&"s".to_owned())
            .await
            .expect("append");
        assert_eq!(appended.returns["words"]["s"], count);
        assert!(!appended.returns.contains_key("sums"));
    }
    for (number, sum) in [(3, 9), (5, 25), (10, 100)] {
        let appended = cluster
            .depot(NUMBERS)
            .append(&number)
            .await
            .expect("append");
        assert_eq!(appended.returns["sums"], sum);
    }
}

const TO_ALL: Depot<u64> = Depot::named("*to_all");
const TO_FIRST: Depot<u64> = Depot::named("*to_first");
const TO_LAST: Depot<u64> = Depot::named("*to_last");

/// partitioners.BasicPartitioner, AllPartitioner and CustomPartitioner.
struct Partitioners;

impl Module for Partitioners {
    fn define(&self, m: &mut Setup) {
        let mut s = m.stream("s");
        let seen = || {
            SourceOptions::new().ack_return_agg(|mut one: Vec<u32>, mut other: Vec<u32>| {
                one.append(&mut other);
                one
            })
        };
        for depot in [NUMBERS, TO_ALL, TO_FIRST, TO_LAST] {
            m.depot(depot, Partition::random());
        }
        let here = |task: &Task, _: &u64| vec![task.id()];
        let hashed = s
            .source_with(NUMBERS, seen())
            .hash_partition(|number| number);
        hashed.ack_return(here).done();
        s.source_with(TO_ALL, seen())
            .all_partition()
            .ack_return(here)
            .done();
        let first = s.source_with(TO_FIRST, seen()).custom_partition(|_, _| 0);
        first.ack_return(here).done();
        let last = s
            .source_with(TO_LAST, seen())
            .custom_partition(|_, tasks| tasks - 1);
        last.ack_return(here).done();
    }
}

///
#[tokio::test]
async fn partitioners_go_where_they_say() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Partitioners).await.expect("launch");
    let tasks = cluster.depot(NUMBERS).partitions().expect("known");
    let seen = async |depot: Depot<u64>, number: u64| {
        let appended = cluster.depot(depot).append(&number).await.expect("append");
        let tasks = appended.returns["s"].as_array().expect("tasks").clone();
        let mut tasks: Vec<u64> = tasks.iter().filter_map(|task| task.as_u64()).collect();
        tasks.sort_unstable();
        tasks
    };
    for number in 0..4 {
        let home = seen(NUMBERS, number).await;
        assert_eq!(home.len(), 1);
        assert_eq!(seen(NUMBERS, number).await, home, "{number} again");
        let all: Vec<u64> = (0..u64::from(tasks)).collect();
        assert_eq!(seen(TO_ALL, number).await, all);
        assert_eq!(seen(TO_FIRST, number).await, [0]);
        assert_eq!(seen(TO_LAST, number).await, [u64::from(tasks) - 1]);
    }
}

/// testing.UpdateExample: what each append adds is up to the running code.
struct Updated(u64);

impl Module for Updated {
    fn name(&self) -> String {
        "Updated".into()
    }

    fn define(&self, m: &mut Setup) {
        m.depot_by(WORDS, |word| word);
        let mut s = m.stream("s");
        let (counts, by) = (s.pstate(COUNTS), self.0);
        s.source(WORDS)
            .each(move |task, word| counts.key(&word).modify(task, |count| *count += by));
    }
}

/// O-2, T-1, T-2, T-5, T-9: two values with one name are versions of one module; the handles of before work after an update; nothing is forgotten.
#[tokio::test]
async fn an_update_changes_code_and_keeps_data_and_handles() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Updated(2)).await.expect("launch");
    assert_eq!(cluster.modules().await.expect("modules"), ["Updated"]);
    let (words, counts) = (cluster.depot(WORDS), cluster.pstate(COUNTS));
    let none = counts.select_one(COUNTS.key("s")).await.expect("select");
    assert_eq!(none, None);
    for (by, expected) in [(2, 2), (1, 3)] {
        cluster.update(Updated(by)).await.expect("update");
        words.append(&"s".to_owned()).await.expect("append");
        let count = counts.select_one(COUNTS.key("s")).await.expect("select");
        assert_eq!(count, Some(expected));
    }
}

const LOG: PState<Map<String, List<String>>> = PState::named("$$log");

/// A record that writes under one key, goes to the other one, writes there, and fails the first time.
struct Partly {
    failed: Arc<AtomicBool>,
    options: fn() -> SourceOptions<rama::Stream>,
}

impl Module for Partly {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PAIRS, |(one, _)| one);
        let mut s = m.stream("s");
        let (counts, log, failed) = (s.pstate(COUNTS), s.pstate(LOG), self.failed.clone());
        s.source_with(PAIRS, (self.options)())
            .inspect(move |task, (one, other)| {
                counts.key(one).set(task, 1);
                log.key(one).append(task, other.clone());
            })
            .hash_partition_by(|(_, other)| other)
            .each(move |task, (one, other)| {
                counts.key(&other).set(task, 1);
                log.key(&other).append(task, one);
                if !failed.swap(true, Ordering::Relaxed) {
                    task.fail("the first time");
                }
            });
    }
}

async fn log(cluster: &Cluster, key: &str) -> Vec<String> {
    let log = cluster.pstate(LOG).select(LOG.key(key).all()).await;
    log.expect("select")
}

/// Spec 20.1, S-5, S-6, S-10: what was written before the partitioner stays when what is behind it fails; a
/// retry does all of it again, and without retries nothing more happens.
#[tokio::test]
async fn a_record_that_fails_halfway_keeps_its_first_half() {
    let retried = || SourceOptions::new();
    let never = || SourceOptions::new().retry_none();
    let options: [(fn() -> SourceOptions<rama::Stream>, usize); 2] = [(retried, 1), (never, 0)];
    for (options, retries) in options {
        let cluster = InProcessCluster::random().expect("a cluster");
        let failed = Arc::new(AtomicBool::new(false));
        cluster
            .launch(Partly { failed, options })
            .await
            .expect("launch");
        let pairs = cluster.depot(PAIRS);
        let error = pairs
            .append(&pair("a", "b"))
            .await
            .expect_err("it fails at first");
        assert!(error.to_string().contains("the first time"), "{error}");
        let mut behind = log(&cluster, "b").await;
        while behind.len() < retries {
            cluster.sleep(Duration::from_millis(5)).await;
            behind = log(&cluster, "b").await;
        }
        // What comes later on the same way is done when everything before is.
        pairs.append(&pair("a", "c")).await.expect("append");
        let before = vec!["b".to_owned(); 1 + retries];
        assert_eq!(
            log(&cluster, "a").await,
            [before, vec!["c".to_owned()]].concat()
        );
        assert_eq!(log(&cluster, "b").await, vec!["a".to_owned(); retries]);
        let count = cluster.pstate(COUNTS).select_one(COUNTS.key("b")).await;
        assert_eq!(count.expect("select"), (retries > 0).then_some(1));
    }
}
