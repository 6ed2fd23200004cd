//! What a user of the module would check: each line of the other module is seen once, whatever fails.
//!
//! Relies on an in-process cluster of random shape, and on simulations of both modules.

use std::collections::BTreeMap;
use std::time::Duration;

use rama::prelude::*;
use word_count::{EXACT_COUNTS, LINES, WordCount, words};
use word_trends::{HEARD, LENGTHS, WordTrends};

const TEXT: [&str; 4] = ["to be or not to be", "that is the question", "", "to die"];

/// How many lines of the depot have so many words.
async fn lengths(cluster: &Cluster) -> BTreeMap<u64, u64> {
    let mut lengths = BTreeMap::new();
    for line in cluster.depot(LINES).read_all().await.expect("read") {
        *lengths.entry(words(line).len() as u64).or_default() += 1;
    }
    lengths
}

/// Waits until the module has seen `expected`, each line once.
async fn until_seen(cluster: &Cluster, expected: &BTreeMap<u64, u64>) {
    for (length, lines) in expected {
        let mut seen = cluster
            .pstate(LENGTHS)
            .watch(LENGTHS.key(length))
            .expect("a watch");
        loop {
            let now = seen.next().await.expect("no end").expect("a value");
            assert!(now <= Some(*lines), "{now:?} of {lines} lines of {length}");
            if now == Some(*lines) {
                break;
            }
        }
    }
}

/// lines that were there before the module and lines that come later.
#[tokio::test]
async fn lines_of_the_other_module_are_consumed_and_its_counts_read() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(WordCount).await.expect("launch");
    let lines = cluster.depot(LINES);
    for line in TEXT {
        lines.append(&line.to_owned()).await.expect("append");
    }
    let counted = cluster.wait_for_processed("WordCount", "exact_count", 4);
    counted.await.expect("counted");
    let tasks = cluster.launch_with_tasks(WordTrends, 2);
    tasks.await.expect("launch");
    until_seen(&cluster, &BTreeMap::from([(0, 1), (2, 1), (4, 1), (6, 1)])).await;
    let heard = async |word: &str| {
        let read = cluster.pstate(HEARD).select_one(HEARD.key(word)).await;
        read.expect("select")
    };
    assert_eq!(heard("to").await, Some(3));
    lines.append(&"to be".to_owned()).await.expect("append");
    until_seen(&cluster, &BTreeMap::from([(0, 1), (2, 2), (4, 1), (6, 1)])).await;
    assert!(heard("be").await >= Some(2));
    let refused = cluster.destroy("WordCount").await.expect_err("it is used");
    assert!(refused.to_string().contains("WordTrends"), "{refused}");
}

/// M-1, X-1: each line counts once in both modules, over power cuts and failing disks.
#[test]
fn every_line_counts_once_in_both_modules_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 3))
            .beside(WordCount, 1 << (seed / 3 % 3))
            .faults(Faults::all());
        simulation.run(WordTrends, |cluster| async move {
            let lines = cluster.depot(LINES);
            for _ in 0..20 {
                let line = TEXT[cluster.random_u64() as usize % TEXT.len()].to_owned();
                // Whether it is in the depot is asked of the depot, below.
                if lines.append_with(&line, AckLevel::AppendAck).await.is_err() {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
            }
            cluster.calm().await;
            let mut exact = BTreeMap::new();
            for line in lines.read_all().await.expect("read") {
                for word in words(line) {
                    *exact.entry(word).or_insert(0) += 1;
                }
            }
            until_seen(&cluster, &lengths(&cluster).await).await;
            for (word, count) in exact {
                let path = HEARD.key(word.as_str());
                let heard = cluster.pstate(HEARD).select_one(path).await;
                let heard = heard.expect("select").unwrap_or(0);
                assert!(heard <= count, "{word}: {heard} of {count}");
                let counted = cluster.pstate(EXACT_COUNTS);
                let counted = counted.select_one(EXACT_COUNTS.key(word.as_str())).await;
                assert!(counted.expect("select") <= Some(count), "{word}");
            }
        });
    }
}
