//! Random modules against an interpreter that knows no tasks, events or retries.
//!
//! A program is a random tree of steps, partitioners, branches, loops, aggregations, handlers and
//! writes; the same program is built as a module and interpreted. What commutes may stand anywhere;
//! what does not stands at the source, where the order is that of the depot. What must stay true:
//! whatever fails, a microbatch comes to what the interpreter comes to with the records that the
//! depot holds, and so does a stream when nothing fails. `RAMA_SEEDS` says how many seeds are tried.

mod build;
mod naive;
mod program;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use build::{GREATEST, HISTORY, MEMBERS, NESTED, RECORDS, RandomModule, SUMS, TOTAL};
use naive::State;
use program::{KEYS, Program, Row};

use crate::AckLevel;
use crate::mutants::Mutant;
use crate::options::{BATCH_MEMORY, Level, Settings};
use crate::path::tests::random::{Random, seeds};
use crate::simulation::{Faults, SimulatedCluster, Simulation};

/// What the depot holds, partition by partition: those of one key are in order.
async fn stored(cluster: &SimulatedCluster, tasks: u32) -> Vec<Row> {
    let depot = cluster.depot(RECORDS);
    let mut rows = Vec::new();
    for partition in 0..tasks {
        let offsets = depot.partition_info(partition).await.unwrap();
        rows.extend(depot.read(partition, offsets).await.unwrap());
    }
    rows
}

async fn settle(cluster: &SimulatedCluster) {
    while cluster.status().modules[0].topologies[0].lag > 0 {
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

/// What clients and a query see of the module.
async fn seen(cluster: &SimulatedCluster) -> State {
    let mut state = State::default();
    for key in 0..KEYS {
        if let Some(sum) = cluster.pstate(SUMS).select(SUMS.key(&key)).await.unwrap() {
            state.sums.insert(key, sum);
        }
        let greatest = cluster.pstate(GREATEST).select(GREATEST.key(&key));
        if let Some(greatest) = greatest.await.unwrap() {
            state.greatest.insert(key, greatest);
        }
        let nested = cluster.pstate(NESTED).select(NESTED.key(&key).all());
        for (inner, sum) in nested.await.unwrap() {
            state.nested.insert((key, inner), sum);
        }
        let members = cluster.pstate(MEMBERS).select(MEMBERS.key(&key).all());
        for member in members.await.unwrap() {
            state.members.insert((key, member));
        }
        let history = cluster.pstate(HISTORY).select(HISTORY.key(&key).all());
        let history = history.await.unwrap();
        if !history.is_empty() {
            state.history.insert(key, history);
        }
    }
    state.total = cluster.query(TOTAL).invoke(()).await.unwrap();
    state
}

fn check(seed: u64, mutant: Option<Mutant>) {
    let mut random = Random::new(seed);
    let program = Program::random(&mut random);
    let tasks = 1 << random.below(4);
    let mut simulation = Simulation::seed(seed).tasks(tasks).mutant(mutant);
    // What fails is undone in a microbatch; a stream does it again.
    let mut failures = 0;
    if program.streams {
        simulation = simulation.machines(1 + random.below(2) as u32);
    } else {
        simulation = simulation.faults(Faults::all());
        failures = random.below(8);
    }
    if random.below(3) == 0 {
        let rows = Settings::new().with(Level::Module, BATCH_MEMORY.name, 1024);
        simulation = simulation.options(rows);
    }
    let module = RandomModule {
        program: program.clone(),
        failures: Arc::new(AtomicU64::new(failures)),
    };
    let (program, random) = (&program, &random);
    simulation.run(module, |cluster| async move {
        let mut random = random.clone();
        if program.streams {
            cluster.calm().await;
        }
        for _ in 0..4 + random.below(20) {
            let row = (random.below(KEYS), random.below(11) as i64 - 5);
            let level = AckLevel::AppendAck;
            // One that fails may be there all the same: the depot is asked in the end.
            if cluster
                .depot(RECORDS)
                .append_with(&row, level)
                .await
                .is_err()
            {
                cluster.sleep(Duration::from_millis(3)).await;
            }
        }
        cluster.calm().await;
        settle(&cluster).await;
        let mut expected = State::default();
        for row in stored(&cluster, tasks).await {
            expected.take(program, row, tasks);
        }
        let found = seen(&cluster).await;
        assert_eq!(found, expected, "seed {seed}, {tasks} tasks: {program:#?}");
    });
}

/// F-1, F-7, F-10, F-12, F-16, M-4, P-27, S-3: modules do what their programs say.
#[test]
fn random_modules_agree_with_the_interpreter() {
    for seed in seeds(150) {
        check(seed, None);
    }
}

/// The comparison can fail: it sees attempts that mix.
#[test]
fn random_modules_see_attempts_that_mix() {
    let agrees = |seed| {
        let run = || check(seed, Some(Mutant::NoAttemptCheck));
        std::panic::catch_unwind(run).is_ok()
    };
    assert!(!(0..400).all(agrees), "attempts that mix are not seen");
}
