//! What a stream does at its throttle, and what it does when it must not try twice.
//!
//! Relies on the simulator: with a window of two records, a burst always finds it full.

use futures_util::future::join_all;

use super::modules::{Careless, EVENTS, POISON, TALLY, Tally};
use super::{idle, settle, simulation, topology};
use crate::options::{Level, STREAM_MAX_EXECUTING, Settings};
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{AckLevel, ErrorKind};

const BURST: u64 = 40;

const EXECUTING: &str = STREAM_MAX_EXECUTING.name;

/// Two unfinished records per partition at most.
fn narrow() -> Settings {
    Settings::new().with(Level::Module, EXECUTING, 2)
}

/// Appends a burst to one partition and waits for all; answers how many were told of the throttle.
async fn burst(cluster: &SimulatedCluster) -> u64 {
    let events = cluster.depot(EVENTS);
    let append = |value| events.append(&(1, 100 + value));
    let mut throttled = 0;
    for appended in join_all((0..BURST).map(append)).await {
        if let Err(error) = appended {
            assert_eq!(error.kind(), ErrorKind::Failed, "{error:#}");
            assert!(error.to_string().contains("too many records"), "{error:#}");
            throttled += 1;
        }
    }
    throttled
}

async fn tally(cluster: &SimulatedCluster) -> u64 {
    let found = cluster.pstate(TALLY).select(TALLY.key(&1)).await;
    found.unwrap().unwrap_or(0)
}

/// S-16, D-21: above the limit an ACK append fails, and its record waits in the depot and is done.
#[test]
fn an_append_above_the_throttle_fails_and_is_processed_all_the_same() {
    for seed in 0..20 {
        let simulation = simulation(seed).options(narrow());
        simulation.run(Tally, |cluster| async move {
            cluster.calm().await;
            let throttled = burst(&cluster).await;
            assert!((1..BURST).contains(&throttled), "seed {seed}: {throttled}");
            settle(&cluster, "tally").await;
            assert_eq!(tally(&cluster).await, BURST, "seed {seed}");
            assert_eq!(topology(&cluster, "tally").skipped, 0);
        });
    }
}

/// S-16: in mode none, exactly those records are left out whose appenders were told so.
#[test]
fn mode_none_skips_records_above_the_throttle() {
    for seed in 0..20 {
        let simulation = simulation(seed).options(narrow());
        simulation.run(Careless, |cluster| async move {
            cluster.calm().await;
            let throttled = burst(&cluster).await;
            settle(&cluster, "careless").await;
            let skipped = topology(&cluster, "careless").skipped;
            assert_eq!(skipped, throttled, "seed {seed}");
            assert!((1..BURST).contains(&skipped), "seed {seed}: {skipped}");
            assert_eq!(tally(&cluster).await + skipped, BURST, "seed {seed}");
        });
    }
}

/// S-12, S-23, D-20: in mode none a failed record is never tried again, not even after a power cut.
#[test]
fn mode_none_tries_a_failed_record_once() {
    for seed in 0..20 {
        simulation(seed).run(Careless, |cluster| async move {
            cluster.calm().await;
            let events = cluster.depot(EVENTS);
            let failed = events.append(&(1, POISON)).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Failed, "{failed:#}");
            events.append(&(1, 1)).await.unwrap();
            settle(&cluster, "careless").await;
            for _ in 0..2 {
                idle(&cluster).await;
                cluster.power_cut().await;
            }
            idle(&cluster).await;
            assert_eq!(tally(&cluster).await, 1, "seed {seed}");
            assert_eq!(topology(&cluster, "careless").failures, 0);
            let letters = cluster.dead_letters("Careless").await.unwrap();
            assert_eq!(letters.len(), 1, "{letters:?}");
            assert_eq!((letters[0].offset, letters[0].attempts), (0, 1));
        });
    }
}

/// S-12, S-13: whenever the power goes, mode none counts no record twice. Each has its own key.
#[test]
fn mode_none_counts_at_most_once_over_power_cuts() {
    const EVENTS_MAX: u64 = 200;
    let mut counted_ever = 0;
    for seed in 0..100 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        counted_ever += simulation
            .run(Careless, |cluster| async move {
                let events = cluster.depot(EVENTS);
                for key in 0..EVENTS_MAX {
                    let appended = events.append_with(&(key, 1), AckLevel::AppendAck);
                    if appended.await.is_err() {
                        cluster.sleep(std::time::Duration::from_millis(3)).await;
                    }
                }
                cluster.calm().await;
                idle(&cluster).await;
                let mut counted = 0;
                for key in 0..EVENTS_MAX {
                    let found = cluster.pstate(TALLY).select(TALLY.key(&key)).await;
                    let times = found.unwrap().unwrap_or(0);
                    assert!(times <= 1, "seed {seed}: event {key} counts {times} times");
                    counted += times;
                }
                counted
            })
            .value;
    }
    assert!(counted_ever > 0, "mode none processed nothing");
}
