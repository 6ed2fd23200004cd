//! What restarts do to stream topologies: which records run again, and what a pause leaves.
//!
//! Relies on the simulator for power cuts at any moment, and on real files for one of them.

mod limits;
mod modules;

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, select};

use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::status::TopologyStatus;
use crate::testing::{COUNTS, EXACT, LINES, Words};
use crate::topology_def::Start;
use crate::{AckLevel, ErrorKind, InProcessCluster, block_on};
use modules::{EVENTS, Fragile, POISON, READ, READ_EXACT, Readers, SEEN, TALLY, Tally};

/// A world whose power goes when the test says so, and whose disk loses what was not flushed.
fn simulation(seed: u64) -> Simulation {
    let power_cuts = 0;
    Simulation::seed(seed).faults(Faults {
        power_cuts,
        ..Faults::power_cuts()
    })
}

fn topology(cluster: &SimulatedCluster, name: &str) -> TopologyStatus {
    let status = cluster.status();
    let all = status.modules[0].topologies.iter();
    all.clone()
        .find(|found| found.name == name)
        .unwrap()
        .clone()
}

/// Waits until a topology has nothing left to do.
async fn settle(cluster: &SimulatedCluster, name: &str) {
    while topology(cluster, name).lag > 0 {
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

/// Long enough for an idle stream to store how far it is.
async fn idle(cluster: &SimulatedCluster) {
    cluster.sleep(Duration::from_secs(1)).await;
}

async fn word_counts(cluster: &crate::Cluster, words: &[&str]) -> Vec<(Option<u64>, Option<u64>)> {
    let (stream, exact) = (cluster.pstate(COUNTS), cluster.pstate(EXACT));
    let mut counts = Vec::new();
    for word in words {
        let streamed = stream.select(COUNTS.key(*word)).await.unwrap();
        counts.push((streamed, exact.select(EXACT.key(*word)).await.unwrap()));
    }
    counts
}

/// S-13: a power cut that finds a stream idle makes no record run again.
#[test]
fn an_idle_stream_repeats_nothing_after_a_power_cut() {
    for seed in 0..30 {
        simulation(seed).run(Words, |cluster| async move {
            cluster.calm().await;
            let words = ["to", "be", "or", "not"];
            let lines = cluster.depot(LINES);
            for _ in 0..10 {
                lines.append(&words.join(" ")).await.unwrap();
            }
            settle(&cluster, "exact").await;
            for _ in 0..3 {
                idle(&cluster).await;
                cluster.power_cut().await;
            }
            settle(&cluster, "count").await;
            idle(&cluster).await;
            let counts = word_counts(&cluster, &words).await;
            assert_eq!(counts, [(Some(10), Some(10)); 4], "seed {seed}");
        });
    }
}

/// The same over real files, with an orderly stop, right after the last acknowledgment.
#[test]
fn a_stream_repeats_nothing_after_a_shutdown_over_real_files() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let cluster = InProcessCluster::builder().dir(dir.path()).start().unwrap();
        block_on(async {
            cluster.launch(Words).await.unwrap();
            for _ in 0..20 {
                let line = "to be".to_owned();
                cluster.depot(LINES).append(&line).await.unwrap();
            }
            let processed = round * 20;
            let waited = cluster.wait_for_processed("Words", "exact", processed);
            waited.await.unwrap();
            let counts = word_counts(&cluster, &["to", "be"]).await;
            assert_eq!(counts, [(Some(processed), Some(processed)); 2]);
            cluster.shutdown().await.unwrap();
        });
    }
}

/// An operator's stop lets streams finish what runs: it repeats nothing either, busy or not.
#[test]
fn a_stop_and_a_start_repeat_nothing_under_load() {
    for seed in 0..50 {
        simulation(seed).run(Words, |cluster| async move {
            cluster.calm().await;
            let lines = cluster.depot(LINES);
            for round in 1..=3 {
                let batch: Vec<String> = (0..40).map(|_| "to be".to_owned()).collect();
                let ack = AckLevel::AppendAck;
                lines.append_many(&batch, ack).await.unwrap();
                cluster.update(Words).await.unwrap();
                if round == 2 {
                    continue;
                }
                settle(&cluster, "count").await;
                settle(&cluster, "exact").await;
                idle(&cluster).await;
                let expected = Some(40 * round);
                let counts = word_counts(&cluster, &["to", "be"]).await;
                assert_eq!(counts, [(expected, expected); 2], "seed {seed}");
            }
        });
    }
}

/// S-4, S-11: where a record's writes are on its own task, its progress is part of them: whatever
/// moment the power goes, each record in the depot counts once.
#[test]
fn a_record_and_its_progress_survive_a_power_cut_together_or_not_at_all() {
    for seed in 0..200 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(Tally, |cluster| async move {
            let events = cluster.depot(EVENTS);
            for round in 0..30_u64 {
                let batch: Vec<(u64, u64)> = (0..8).map(|key| (key, round)).collect();
                if events
                    .append_many(&batch, AckLevel::AppendAck)
                    .await
                    .is_err()
                {
                    cluster.sleep(Duration::from_millis(3)).await;
                }
            }
            cluster.calm().await;
            settle(&cluster, "tally").await;
            let mut appended = 0;
            for partition in 0..events.partitions().unwrap() {
                appended += events.partition_info(partition).await.unwrap().end;
            }
            idle(&cluster).await;
            let mut counted = 0;
            for key in 0..8 {
                let found = cluster.pstate(TALLY).select(TALLY.key(&key)).await;
                counted += found.unwrap().unwrap_or(0);
            }
            assert_eq!(counted, appended, "seed {seed}");
        });
    }
}

/// S-11, S-13: where writes are on other tasks, a power cut repeats at most what was in work.
#[test]
fn a_power_cut_repeats_only_records_in_flight() {
    const IN_FLIGHT: u64 = 8;
    let mut repeated_ever = 0;
    for seed in 0..100 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        repeated_ever += simulation
            .run(Words, |cluster| async move {
                let lines = cluster.depot(LINES);
                for _ in 0..40 {
                    let append = |_| lines.append(&"word".to_owned());
                    let appended = join_all((0..IN_FLIGHT).map(append)).await;
                    let down = |error: &crate::Error| error.kind() == ErrorKind::Unavailable;
                    if appended
                        .iter()
                        .filter_map(|one| one.as_ref().err())
                        .any(down)
                    {
                        cluster.sleep(Duration::from_millis(3)).await;
                    }
                }
                cluster.calm().await;
                settle(&cluster, "count").await;
                settle(&cluster, "exact").await;
                idle(&cluster).await;
                let (counted, exact) = word_counts(&cluster, &["word"]).await[0];
                let repeated = counted.unwrap_or(0) - exact.unwrap_or(0);
                // Those in work, and those answered whose progress was on its way.
                let most = 2 * IN_FLIGHT * u64::from(cluster.power_cuts());
                assert!(
                    repeated <= most,
                    "seed {seed}: {repeated} of at most {most}"
                );
                repeated
            })
            .value;
    }
    assert!(repeated_ever > 0, "no power cut ever hit a record in work");
}

/// M-15 for streams: a pause that was answered outlives any crash, and a resume ends it.
#[test]
fn a_pause_of_a_stream_survives_a_power_cut() {
    for seed in 0..30 {
        simulation(seed).run(Tally, |cluster| async move {
            cluster.calm().await;
            let events = cluster.depot(EVENTS);
            events.append(&(1, 1)).await.unwrap();
            cluster.pause("Tally", "tally").await.unwrap();
            cluster.power_cut().await;
            assert!(topology(&cluster, "tally").paused);
            let failed = events.append(&(1, 2)).await.unwrap_err();
            assert!(failed.to_string().contains("paused"), "{failed}");
            idle(&cluster).await;
            cluster.power_cut().await;
            let before = topology(&cluster, "tally");
            assert_eq!((before.paused, before.lag), (true, 1), "seed {seed}");
            let tally = || async {
                let found = cluster.pstate(TALLY).select(TALLY.key(&1)).await;
                found.unwrap()
            };
            assert_eq!(tally().await, Some(1));
            cluster.resume("Tally", "tally").await.unwrap();
            cluster.power_cut().await;
            assert!(!topology(&cluster, "tally").paused);
            settle(&cluster, "tally").await;
            assert_eq!(tally().await, Some(2), "seed {seed}");
        });
    }
}

/// A pause that a power cut interrupts holds on all tasks or on none.
#[test]
fn a_pause_that_was_not_answered_holds_everywhere_or_nowhere() {
    let mut paused_ever = 0;
    for seed in 0..60 {
        paused_ever += simulation(seed)
            .threads(4)
            .run(Tally, |cluster| async move {
                cluster.calm().await;
                let within = Duration::from_nanos(cluster.random_u64() % 150_000);
                let pause = pin!(cluster.pause("Tally", "tally"));
                let _ = select(pause, pin!(cluster.sleep(within))).await;
                cluster.power_cut().await;
                let paused = topology(&cluster, "tally").paused;
                let events: Vec<(u64, u64)> = (0..16).map(|key| (key, 1)).collect();
                let appended = cluster
                    .depot(EVENTS)
                    .append_many(&events, AckLevel::AppendAck);
                appended.await.unwrap();
                idle(&cluster).await;
                let expected = if paused { 16 } else { 0 };
                assert_eq!(topology(&cluster, "tally").lag, expected, "seed {seed}");
                u64::from(paused)
            })
            .value;
    }
    assert!((1..60).contains(&paused_ever), "{paused_ever} of 60 paused");
}

/// S-12 and the policy: a record that pauses its topology pauses it on all tasks, durably.
#[test]
fn a_policy_that_pauses_stops_all_tasks_for_good() {
    for seed in 0..30 {
        simulation(seed).run(Fragile, |cluster| async move {
            cluster.calm().await;
            let events = cluster.depot(EVENTS);
            let ack = AckLevel::AppendAck;
            events.append_with(&(0, POISON), ack).await.unwrap();
            while !topology(&cluster, "fragile").paused {
                cluster.sleep(Duration::from_millis(1)).await;
            }
            idle(&cluster).await;
            cluster.power_cut().await;
            assert!(topology(&cluster, "fragile").paused, "seed {seed}");
            for key in 0..16 {
                events.append_with(&(key, 1), ack).await.unwrap();
            }
            idle(&cluster).await;
            assert_eq!(topology(&cluster, "fragile").lag, 17, "seed {seed}");
        });
    }
}

/// Lag is known as soon as a module is up: from the task threads, not from who asks them.
#[test]
fn the_lag_after_a_restart_is_that_of_before() {
    for seed in 0..30 {
        simulation(seed).run(Words, |cluster| async move {
            cluster.calm().await;
            for topology in ["count", "exact"] {
                cluster.pause("Words", topology).await.unwrap();
            }
            let batch: Vec<String> = (0..50).map(|_| "to be".to_owned()).collect();
            let appended = cluster
                .depot(LINES)
                .append_many(&batch, AckLevel::AppendAck);
            appended.await.unwrap();
            for _ in 0..3 {
                cluster.power_cut().await;
                for name in ["count", "exact"] {
                    let found = topology(&cluster, name);
                    let seen = (found.lag, found.paused);
                    assert_eq!(seen, (50, true), "seed {seed}, {name}");
                }
            }
        });
    }
}

/// What the two topologies of [`Readers`] have read, which must be the same.
async fn read(cluster: &SimulatedCluster) -> Vec<u64> {
    settle(cluster, "stream").await;
    settle(cluster, "microbatch").await;
    idle(cluster).await;
    let streamed = cluster.pstate(READ).select(READ.key("all")).await;
    let exact = cluster
        .pstate(READ_EXACT)
        .select(READ_EXACT.key("all"))
        .await;
    let mut streamed = streamed.unwrap().unwrap_or_default();
    // A power cut may have come while it worked.
    streamed.sort_unstable();
    streamed.dedup();
    assert_eq!(exact.unwrap().unwrap_or_default(), streamed);
    streamed
}

/// Ten records, one an hour; then a topology that starts somewhere among them, power cuts, and one
/// record more.
fn reads_from(start: fn(u64) -> Start, expected: std::ops::RangeInclusive<u64>) {
    for seed in 0..10 {
        let expected: &Vec<u64> = &expected.clone().collect();
        let simulation = simulation(seed).time_budget(Duration::from_secs(1_000_000));
        simulation.run(Readers { start: None }, |cluster| async move {
            cluster.calm().await;
            let append = |value| cluster.depot(SEEN).append_with(&value, AckLevel::AppendAck);
            let mut first_ms = 0;
            for value in 0..10 {
                append(value).await.unwrap();
                if value == 0 {
                    first_ms = cluster.now_ms();
                }
                cluster.sleep(Duration::from_secs(3600)).await;
            }
            let start = Some(start(first_ms));
            cluster.update(Readers { start }).await.unwrap();
            cluster.power_cut().await;
            cluster.sleep(Duration::from_secs(36_000)).await;
            cluster.power_cut().await;
            append(10).await.unwrap();
            cluster.power_cut().await;
            assert_eq!(read(&cluster).await, *expected, "seed {seed}");
        });
    }
}

const HOUR_MS: u64 = 3_600_000;

/// S-21, M-12.
#[test]
fn a_source_starts_at_the_beginning_or_the_end_or_an_offset() {
    reads_from(|_| Start::Beginning, 0..=10);
    reads_from(|_| Start::End, 10..=10);
    reads_from(|_| Start::Offset(4), 4..=10);
    reads_from(|_| Start::Offset(400), 10..=10);
}

/// D-3, S-22, M-12: by append time, and counted from the end, as of the first launch.
#[test]
fn a_source_starts_at_a_time_or_some_records_ago() {
    reads_from(
        |first_ms| Start::Timestamp(first_ms + 4 * HOUR_MS + HOUR_MS / 2),
        5..=10,
    );
    reads_from(|_| Start::Timestamp(0), 0..=10);
    reads_from(
        |_| Start::Ago(Duration::from_millis(3 * HOUR_MS + HOUR_MS / 2)),
        7..=10,
    );
    reads_from(|_| Start::RecordsAgo(2), 8..=10);
    reads_from(|_| Start::RecordsAgo(200), 0..=10);
}

/// S-21: what was acknowledged after the launch belongs to a topology that starts at the end, even
/// if it never got to run before a crash.
#[test]
fn a_start_at_the_end_is_fixed_before_the_first_append() {
    for seed in 0..30 {
        simulation(seed).run(Readers { start: None }, |cluster| async move {
            cluster.calm().await;
            let append = |value| cluster.depot(SEEN).append_with(&value, AckLevel::AppendAck);
            append(0).await.unwrap();
            let start = Some(Start::End);
            cluster.update(Readers { start }).await.unwrap();
            append(1).await.unwrap();
            cluster.power_cut().await;
            append(2).await.unwrap();
            assert_eq!(read(&cluster).await, [1, 2], "seed {seed}");
        });
    }
}
