//! What a user of the module would check: counts are right, at once where promised, and exact.
//!
//! Relies on an in-process cluster, at several task counts (T-11).

use std::collections::BTreeMap;

use rama::prelude::*;
use word_count::{COUNTS, EXACT_COUNTS, LINES, WordCount, words};

const TEXT: &[&str] = &[
    "The cat sat.",
    "THE DOG, the dog's bone!",
    "",
    "Çà et là – où?",
    "42 cats",
];

fn expected() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in TEXT.iter().flat_map(|line| words(line.to_string())) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

#[test]
fn words_are_maximal_alphabetic_runs_in_lower_case() {
    assert_eq!(
        words("The dog's 2nd bone–ÉTÉ".into()),
        ["the", "dog", "s", "nd", "bone", "été"]
    );
    assert!(words(" 12, 34! ".into()).is_empty());
}

/// D-15: an `Ack` append returns after the stream topology has written.
#[tokio::test]
async fn an_acknowledged_line_is_counted_at_once() {
    for (tasks, threads) in [(1, 1), (2, 1), (4, 2), (8, 2)] {
        let cluster = InProcessCluster::new(tasks, threads).expect("a cluster");
        cluster.launch(WordCount).await.expect("launch");
        let lines = cluster.depot(LINES);
        for line in TEXT {
            lines.append(&line.to_string()).await.expect("append");
        }
        let counts = cluster.pstate(COUNTS);
        for (word, count) in expected() {
            let found = counts.select_one(COUNTS.key(&word)).await.expect("select");
            assert_eq!(found, Some(count), "{word} at {tasks} tasks");
        }
        assert_eq!(
            counts
                .select_one(COUNTS.key("unicorn"))
                .await
                .expect("select"),
            None
        );
    }
}

#[tokio::test]
async fn exact_counts_survive_a_restart_and_go_on() {
    let cluster = InProcessCluster::new(4, 2).expect("a cluster");
    cluster.launch(WordCount).await.expect("launch");
    let all: Vec<String> = TEXT.iter().map(|line| line.to_string()).collect();
    for round in 1..=3u64 {
        cluster
            .depot(LINES)
            .append_many(&all, AckLevel::AppendAck)
            .await
            .expect("append");
        let processed = round * TEXT.len() as u64;
        cluster
            .wait_for_processed("WordCount", "exact_count", processed)
            .await
            .expect("processed");
        for (word, count) in expected() {
            let path = EXACT_COUNTS.key(&word);
            let found = cluster
                .pstate(EXACT_COUNTS)
                .select_one(path)
                .await
                .expect("select");
            assert_eq!(found, Some(count * round), "{word} after round {round}");
        }
        cluster.update(WordCount).await.expect("update");
    }
}
