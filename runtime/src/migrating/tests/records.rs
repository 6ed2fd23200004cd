//! Depot records that change type under those who read them.

use std::time::Duration;

use super::*;
use crate::AckLevel;

const WORDS_V1: Depot<String> = Depot::named("*words");
/// The word and its length.
const WORDS_V2: Depot<(String, u64)> = Depot::named("*words");
const WORDS_V3: Depot<u64> = Depot::named("*words");
const STREAMED: PState<Map<String, u64>> = PState::named("$$streamed");
const BATCHED: PState<Map<String, u64>> = PState::named("$$batched");

#[derive(Clone)]
struct Words(Define);

impl Module for Words {
    fn define(&self, m: &mut Setup) {
        (self.0)(m);
    }

    fn name(&self) -> String {
        "Words".to_owned()
    }
}

fn words(define: impl Fn(&mut Setup) + Send + Sync + 'static) -> Words {
    Words(Arc::new(define))
}

/// A stream that fails on every word of three letters, and gives it up at once.
fn v1(m: &mut Setup) {
    m.depot(WORDS_V1, Partition::random()).global();
    let mut s = m.stream("picky");
    let options = SourceOptions::new().start_from_beginning().retries(0);
    s.source_with(WORDS_V1, options).each(|task, word| {
        if word.len() == 3 {
            task.fail("three letters");
        }
    });
}

/// Words that begin with `x` vanish; the length is the old one, plus a hundred for new records.
fn measured(old: String) -> Option<(String, u64)> {
    let len = old.len() as u64;
    (!old.starts_with('x')).then_some((old, len))
}

fn v2(migrations: bool) -> impl Fn(&mut Setup) + Send + Sync {
    move |m| {
        let depot = m.depot(WORDS_V2, Partition::random()).global();
        if migrations {
            depot.migrate("measured", measured);
        }
        m.stream("picky").source(WORDS_V2).done();
        let mut s = m.stream("streamed");
        let streamed = s.pstate(STREAMED);
        s.source_with(WORDS_V2, from_beginning())
            .hash_partition(|(word, _)| word)
            .each(move |task, (word, len)| {
                streamed
                    .key(&word)
                    .update(task, |sum| sum.unwrap_or(0) + len);
            });
        let mut mb = m.microbatch("batched");
        let batched = mb.pstate(BATCHED);
        mb.source_with(WORDS_V2, from_beginning())
            .hash_partition(|(word, _)| word)
            .each(move |task, (word, len)| {
                batched
                    .key(&word)
                    .update(task, |sum| sum.unwrap_or(0) + len);
            });
    }
}

fn v3(m: &mut Setup) {
    m.depot(WORDS_V3, Partition::random())
        .global()
        .migrate("measured", measured)
        .migrate("only the length", |(_, len): (String, u64)| Some(len));
}

fn word(text: &str) -> String {
    text.to_owned()
}

/// D-26, D-40, D-41, D-42, D-43, D-44: topologies and clients, right after the update.
#[test]
fn old_records_are_new_right_after_the_update_and_offsets_stay() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(words(v1)).await.unwrap();
        let old = cluster.depot(WORDS_V1);
        for text in ["one", "three", "xerxes", "xanthippe", "seven"] {
            old.append_with(&word(text), AckLevel::AppendAck)
                .await
                .unwrap();
        }
        while cluster.status().modules[0].topologies[0].dead_letters == 0 {
            cluster.sleep(Duration::from_millis(2)).await;
        }
        cluster.update(words(v2(true))).await.unwrap();
        let depot = cluster.depot(WORDS_V2);
        let new = |text: &str, len: u64| (word(text), len);
        depot.append(&new("seven", 105)).await.unwrap();
        let read = depot.read(0, 0..6).await.unwrap();
        let expected = [
            new("one", 3),
            new("three", 5),
            new("seven", 5),
            new("seven", 105),
        ];
        assert_eq!(read, expected);
        assert_eq!(depot.read(0, 2..4).await.unwrap(), []);
        assert_eq!(depot.read(0, 4..5).await.unwrap(), [new("seven", 5)]);

        for topology in ["streamed", "batched"] {
            cluster
                .wait_for_processed("Words", topology, 6)
                .await
                .unwrap();
        }
        let (streamed, batched) = (cluster.pstate(STREAMED), cluster.pstate(BATCHED));
        for (text, sum) in [("one", Some(3)), ("seven", Some(110)), ("xerxes", None)] {
            let found = streamed.select(STREAMED.key(text)).await.unwrap();
            assert_eq!(found, sum, "{text}");
            let found = batched.select(BATCHED.key(text)).await.unwrap();
            assert_eq!(found, sum, "{text}");
        }

        // What was given up by the old code is there for the new one.
        let letters = cluster.dead_letters("Words").await.unwrap();
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0].data, serde_json::json!(["one", 3]));
        cluster
            .replay_dead_letters("Words", &[letters[0].id.clone()])
            .await
            .unwrap();
        assert_eq!(depot.read(0, 6..7).await.unwrap(), [new("one", 3)]);

        let refused = cluster.update(words(v2(false))).await.unwrap_err();
        let expected = "\"measured\" of *words is not complete, 5 old records on 1 tasks";
        assert!(refused.to_string().contains(expected), "{refused}");
        // The same id goes on; one more comes behind it.
        cluster.update(words(v2(true))).await.unwrap();
        let gone = cluster.update_deleting(words(v3), &["$$streamed", "$$batched"]);
        gone.await.unwrap();
        let depot = cluster.depot(WORDS_V3);
        depot.append(&1000).await.unwrap();
        assert_eq!(depot.read(0, 0..8).await.unwrap(), [3, 5, 5, 105, 3, 1000]);
    });
}

/// D-43: trimming ends a migration of records.
#[test]
fn a_migration_of_records_may_go_when_they_are_trimmed() {
    let options = Settings::new()
        .with(Level::Module, "depot.max.entries.per.partition", 2)
        .with(Level::Module, "depot.excess.proportion", 0)
        .with(Level::Module, "depot.trim.interval.seconds", 1);
    let builder = InProcessCluster::builder().tasks(2).threads(1);
    let cluster = builder.start().unwrap();
    block_on(async {
        let old = |m: &mut Setup| {
            m.depot(WORDS_V1, Partition::random()).global();
        };
        let new = |with: bool| {
            words(move |m: &mut Setup| {
                let depot = m.depot(WORDS_V2, Partition::random()).global();
                if with {
                    depot.migrate("measured", measured);
                }
            })
        };
        cluster.launch(words(old)).await.unwrap();
        for _ in 0..3 {
            cluster.depot(WORDS_V1).append(&word("old")).await.unwrap();
        }
        cluster.update(new(true)).await.unwrap();
        for _ in 0..3 {
            let record = (word("new"), 1);
            cluster.depot(WORDS_V2).append(&record).await.unwrap();
        }
        let refused = cluster.update(new(false)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        for (level, option, value) in options.iter() {
            let value = value.clone();
            cluster
                .set_option("Words", level.clone(), option, value)
                .await
                .unwrap();
        }
        // The interval that was set is taken up behind the one that runs.
        cluster.update(new(true)).await.unwrap();
        while !cluster.migrations("Words").await.unwrap()[0].complete {
            cluster.sleep(Duration::from_millis(20)).await;
        }
        cluster.update(new(false)).await.unwrap();
        let last = cluster.depot(WORDS_V2).read(0, 4..6).await.unwrap();
        assert_eq!(last, [(word("new"), 1), (word("new"), 1)]);
    });
}

/// D-40, D-42: each old record passes once, each new one never, whenever the power goes.
#[test]
fn power_cuts_after_an_update_lose_and_repeat_no_change_of_records() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed).tasks(2);
        simulation.run(words(v1), |cluster| async move {
            cluster.calm().await;
            for text in ["three", "xerxes", "seven", "xanthippe"] {
                cluster.depot(WORDS_V1).append(&word(text)).await.unwrap();
            }
            cluster.update(words(v2(true))).await.unwrap();
            for round in 0..3 {
                let nap = cluster.random_u64() % 30;
                cluster.sleep(Duration::from_millis(nap)).await;
                cluster.power_cut().await;
                cluster.calm().await;
                let record = (word("seven"), 100);
                cluster.depot(WORDS_V2).append(&record).await.unwrap();
                let long = Duration::from_secs(3600);
                let count = 5 + round;
                cluster
                    .wait_for_processed("Words", "batched", count, long)
                    .await
                    .unwrap();
                let found = cluster.pstate(BATCHED).select(BATCHED.key("seven")).await;
                assert_eq!(found.unwrap(), Some(5 + 100 * (round + 1)), "seed {seed}");
                let read = cluster.depot(WORDS_V2).read(0, 0..count).await.unwrap();
                assert_eq!(read.len() as u64, 3 + round, "seed {seed}");
            }
        });
    }
}
