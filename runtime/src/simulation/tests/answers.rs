//! What an append is told: ack levels, ack returns, first attempts and patience.
//!
//! Relies on the client alone.

use serde_json::{Value, json};

use crate::options::{Level, Settings};
use crate::setup::Setup;
use crate::simulation::Simulation;
use crate::testing::{JOBS, Jobs, POISON, UNLUCKY};
use crate::{AckLevel, Depot, ErrorKind, Module, Partition, SourceOptions};

const NUMBERS: Depot<u64> = Depot::named("*numbers");

/// Two streams that give something back, and one that does not.
struct Giving;

impl Module for Giving {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random());
        let options = || SourceOptions::new().start_from_beginning();
        let sum = options().ack_return_agg(|so_far: u64, next: u64| so_far + next);
        m.stream("sum")
            .source_with(NUMBERS, sum)
            .flat_map(|_, n| (0..n).map(|branch| (branch, n)).collect::<Vec<_>>())
            .hash_partition(|(branch, _)| branch)
            .each(|task, (_, n)| task.ack_return(&n));
        m.stream("last")
            .source_with(NUMBERS, options())
            .each(|task, n| {
                task.ack_return(&0_u64);
                task.ack_return(&(n + 1));
            });
        m.stream("silent")
            .source_with(NUMBERS, options())
            .each(|_, _| {});
    }
}

/// D-14, D-15, D-19, S-18 … S-20: an ACK append gets what each stream gave back, others get nothing.
#[test]
fn ack_returns_are_combined_over_the_whole_tree() {
    for (seed, threads) in [(1, 1), (2, 4)] {
        let world = Simulation::seed(seed).threads(threads);
        world.run(Giving, |cluster| async move {
            cluster.calm().await;
            let numbers = cluster.depot(NUMBERS);
            for (n, sum) in [(3_u64, 9), (5, 25), (10, 100)] {
                let returns = numbers.append(&n).await.unwrap().returns;
                let returns: Vec<(String, Value)> = returns.into_iter().collect();
                let expected = [("last", json!(n + 1)), ("sum", json!(sum))];
                let expected = expected.map(|(name, value)| (name.to_owned(), value));
                assert_eq!(returns, expected);
                for ack in [AckLevel::AppendAck, AckLevel::None] {
                    let appended = numbers.append_with(&n, ack).await.unwrap();
                    assert!(appended.returns.is_empty());
                    assert_eq!(appended.offset.is_some(), ack == AckLevel::AppendAck);
                }
            }
        });
    }
}

/// D-20: without "the first attempt decides" an append waits for the retry, and fails only with it.
#[test]
fn a_patient_append_waits_for_the_retry() {
    for seed in 0..10 {
        let option = crate::options::ACK_FAILURE_ON_ANY.name;
        let patient = Settings::new().with(Level::Depot("*jobs".to_owned()), option, false);
        let world = Simulation::seed(seed).options(patient);
        let all_after = seed % 2 == 0;
        world.run(Jobs { all_after }, |cluster| async move {
            cluster.calm().await;
            cluster.depot(JOBS).append(&(1, UNLUCKY)).await.unwrap();
            let failed = cluster.depot(JOBS).append(&(1, POISON)).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Failed, "seed {seed}: {failed:#}");
            let letters = cluster.dead_letters("Jobs").await.unwrap();
            assert!(letters.len() <= 1, "seed {seed}: {letters:?}");
        });
    }
}
