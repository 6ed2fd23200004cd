//! Options that change under a module that runs: what they do, and what is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;

use crate::options::{
    ACK_FAILURE_ON_ANY, EVENT_TARGET_MILLIS, Level, MICROBATCH_MAX_RECORDS, PROXY_LIMIT,
    STREAM_EVENTS_PER_BATCH, STREAM_MAX_EXECUTING, Settings,
};
use crate::simulation::{SimulatedCluster, Simulation};
use crate::testing::{Bank, COUNTS, DEPOSITS, JOBS, Jobs, UNLUCKY, Words};
use crate::{
    AckLevel, Depot, ErrorKind, InProcessCluster, Module, Partition, Setup, SourceOptions, Task,
    block_on,
};

fn depot(name: &str) -> Level {
    Level::Depot(name.to_owned())
}

fn topology(name: &str) -> Level {
    Level::Topology(name.to_owned())
}

/// Appends ten deposits to one partition while the bank is paused; answers how many microbatches
/// they take.
async fn microbatches(cluster: &SimulatedCluster) -> u64 {
    let status = || cluster.status().modules[0].topologies[0].clone();
    cluster.pause("Bank", "bank").await.unwrap();
    let before = status();
    for _ in 0..10 {
        let append = cluster.depot(DEPOSITS);
        append.append(&(1, 1)).await.unwrap();
    }
    cluster.resume("Bank", "bank").await.unwrap();
    let (count, patience) = (before.processed + 10, Duration::from_secs(60));
    cluster
        .wait_for_processed("Bank", "bank", count, patience)
        .await
        .unwrap();
    status().microbatch_id - before.microbatch_id
}

/// Set, changed below, and unset: each holds for the next microbatch of a module that runs.
#[test]
fn a_microbatch_takes_as_many_records_as_is_set_now() {
    let records = MICROBATCH_MAX_RECORDS.name;
    let options = Settings::new().with(Level::Module, records, 5);
    Simulation::seed(1)
        .options(options)
        .run(Bank::default(), |cluster| async move {
            cluster.calm().await;
            assert_eq!(microbatches(&cluster).await, 2, "from the first moment");
            cluster.set_option(depot("*deposits"), records, 1);
            assert_eq!(microbatches(&cluster).await, 10, "the depot's own");
            cluster.set_option(Level::Module, records, 2);
            assert_eq!(microbatches(&cluster).await, 10, "the module's is hidden");
            cluster.power_cut().await;
            assert_eq!(microbatches(&cluster).await, 10, "after a crash");
            cluster.set_option(depot("*deposits"), records, 100);
            assert_eq!(microbatches(&cluster).await, 1);
        });
}

/// S-16, D-21: the throttle opens while records are turned away.
#[test]
fn a_stream_executes_as_many_records_as_is_set_now() {
    async fn throttled(cluster: &SimulatedCluster) -> usize {
        let jobs = cluster.depot(JOBS);
        let all = join_all((0..40).map(|value| jobs.append(&(1, 100 + value)))).await;
        all.iter().filter(|appended| appended.is_err()).count()
    }
    for seed in 0..10 {
        let options = Settings::new().with(topology("jobs"), STREAM_MAX_EXECUTING.name, 2);
        let world = Simulation::seed(seed).options(options);
        world.run(Jobs { all_after: false }, |cluster| async move {
            cluster.calm().await;
            assert!(throttled(&cluster).await > 0, "seed {seed}");
            cluster.set_option(topology("jobs"), STREAM_MAX_EXECUTING.name, 100);
            // What was turned away waits in the depot and comes first.
            while cluster.status().modules[0].topologies[0].lag > 0 {
                cluster.sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(throttled(&cluster).await, 0, "seed {seed}");
        });
    }
}

/// D-20: whether an append waits for the retry is what is set when the attempt fails.
#[test]
fn an_append_becomes_patient_when_it_is_told() {
    for seed in 0..10 {
        let world = Simulation::seed(seed);
        world.run(Jobs { all_after: false }, |cluster| async move {
            cluster.calm().await;
            cluster.set_option(depot("*jobs"), ACK_FAILURE_ON_ANY.name, false);
            cluster.depot(JOBS).append(&(1, UNLUCKY)).await.unwrap();
        });
        let world = Simulation::seed(seed);
        world.run(Jobs { all_after: false }, |cluster| async move {
            cluster.calm().await;
            let failed = cluster.depot(JOBS).append(&(1, UNLUCKY)).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Failed, "seed {seed}");
        });
    }
}

#[test]
fn watches_above_the_limit_of_their_pstate_are_refused() {
    let cluster = InProcessCluster::new(1, 1).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let level = || Level::PState("counts".to_owned());
        let (option, client) = (PROXY_LIMIT.name, cluster.pstate(COUNTS));
        cluster
            .set_option("Words", level(), option, 1)
            .await
            .unwrap();
        let mut first = client.watch(COUNTS.key("a")).unwrap();
        assert_eq!(first.next().await.unwrap().unwrap(), None);
        let mut second = client.watch(COUNTS.key("b")).unwrap();
        let refused = second.next().await.unwrap().unwrap_err();
        assert!(format!("{refused:#}").contains(option), "{refused:#}");
        cluster
            .unset_option("Words", level(), option)
            .await
            .unwrap();
        let mut third = client.watch(COUNTS.key("b")).unwrap();
        assert_eq!(third.next().await.unwrap().unwrap(), None);
    });
}

const WORK: Depot<u64> = Depot::named("*work");

type Seen = Arc<Mutex<Vec<(&'static str, u64)>>>;

/// Two streams that note the order of their events, and take their time.
struct Rivals {
    seen: Seen,
}

impl Module for Rivals {
    fn define(&self, m: &mut Setup) {
        m.depot(WORK, Partition::random());
        for name in ["left", "right"] {
            let seen = self.seen.clone();
            let options = SourceOptions::new().start_from_beginning();
            m.stream(name)
                .source_with(WORK, options)
                .each(move |_: &Task, value: u64| {
                    if value < 10 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    seen.lock().unwrap().push((name, value));
                });
        }
    }
}

/// How often the turn went from one stream to the other while both did these records.
async fn turns(cluster: &InProcessCluster, seen: &Seen, records: &[u64]) -> usize {
    let work = cluster.depot(WORK);
    for appended in work.append_many(records, AckLevel::Ack).await.unwrap() {
        assert!(appended.offset.is_some());
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.len(), records.len() * 2, "{seen:?}");
    let mut by_name: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (name, value) in &seen {
        by_name.entry(name).or_default().push(*value);
    }
    assert!(by_name.values().all(|values| values == records), "{seen:?}");
    seen.windows(2).filter(|two| two[0].0 != two[1].0).count()
}

/// O-7, §6.1: an event that has taken its time lets others run; one with few records does, too.
#[test]
fn streams_take_turns_as_often_as_is_set_now() {
    let seen = Seen::default();
    let cluster = InProcessCluster::new(1, 1).unwrap();
    block_on(async {
        let module = Rivals { seen: seen.clone() };
        cluster.launch(module).await.unwrap();
        let set = async |level, option: &str, value: u64| {
            cluster
                .set_option("Rivals", level, option, value)
                .await
                .unwrap();
        };
        let (slow, fast) = ([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16]);
        // Undisturbed, each does all of them in one event. A machine may hold an event up for longer
        // than any target, but not for ever.
        set(Level::Module, EVENT_TARGET_MILLIS.name, 1000).await;
        let mut tries = 0;
        while turns(&cluster, &seen, &fast).await > 1 {
            tries += 1;
            assert!(tries < 20, "events end without a reason");
        }
        // Each record takes longer than the target.
        set(Level::Module, EVENT_TARGET_MILLIS.name, 1).await;
        assert_eq!(turns(&cluster, &seen, &slow).await, 11);
        // However fast, a batch of one event is one event.
        set(Level::Module, EVENT_TARGET_MILLIS.name, 1000).await;
        for name in ["left", "right"] {
            set(topology(name), STREAM_EVENTS_PER_BATCH.name, 1).await;
        }
        assert!(turns(&cluster, &seen, &fast).await > 1);
    });
}

#[test]
fn what_cannot_be_set_is_refused_with_what_can() {
    let cluster = InProcessCluster::new(1, 1).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let refusal = async |module: &str, level, option: &str| {
            let set = cluster.set_option(module, level, option, 0).await;
            format!("{:#}", set.unwrap_err())
        };
        let records = MICROBATCH_MAX_RECORDS.name;
        let value = refusal("Words", depot("lines"), records).await;
        assert!(value.contains("of depot *lines of Words"), "{value}");
        assert!(value.contains("it takes 1 to 16777216 records"), "{value}");
        let object = refusal("Words", depot("*word"), records).await;
        assert!(object.contains("it has *lines"), "{object}");
        let name = refusal("Words", Level::Module, "depot.max.records").await;
        assert!(name.contains("did you mean depot.m"), "{name}");
        let module = refusal("Word", Level::Module, records).await;
        assert!(module.contains("there is no module Word"), "{module}");
    });
    let options = Settings::new().with(Level::Module, "no.such", 1);
    let refused = InProcessCluster::builder().options(options).start();
    let text = format!("{:#}", refused.unwrap_err());
    assert!(text.contains("there is no option no.such"), "{text}");
}
