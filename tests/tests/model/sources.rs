//! Two sources of one topology over one depot.

use std::ops::Range;
use std::time::Duration;

use rama::options::{Level, MICROBATCH_MAX_RECORDS, Settings};
use rama::prelude::*;
use rama::{Definition, LocalPState, SimulatedCluster};

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const TICKS: Depot<()> = Depot::named("*ticks");
/// By number, the microbatches in which it came to one chain; zeros in a stream.
type Seen = Map<u64, Vec<u64>>;
const ONE: PState<Seen> = PState::named("$$one");
const OTHER: PState<Seen> = PState::named("$$other");

/// What consumes the numbers: a chain, two by two sources, or two by one.
#[derive(Clone, Copy)]
enum Chains {
    One,
    Twins,
    Merged,
}

struct Exact(Chains);

impl Module for Exact {
    fn name(&self) -> String {
        "Exact".into()
    }

    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        let mut mb = m.microbatch("t");
        let (one, other) = (mb.pstate(ONE), mb.pstate(OTHER));
        match self.0 {
            Chains::One => mb.source(NUMBERS).each(move |task, n| note(task, one, n)),
            Chains::Twins => {
                mb.source(NUMBERS).each(move |task, n| note(task, one, n));
                mb.source_with(
                    NUMBERS,
                    SourceOptions::new().source_id("all").start_from_beginning(),
                )
                .each(move |task, n| note(task, other, n));
            }
            Chains::Merged => mb.source(NUMBERS).each(move |task, n| {
                note(task, one, n);
                note(task, other, n);
            }),
        }
    }
}

fn note(task: &Task, seen: LocalPState<Seen>, n: u64) {
    let id = task.microbatch_id().unwrap_or(0);
    seen.key(&n).modify(task, |ids| ids.push(id));
}

/// Appends numbers; waits until a source, or several, have processed all.
async fn append(cluster: &SimulatedCluster, numbers: Range<u64>, sources: &[&str]) {
    let all: Vec<u64> = numbers.clone().collect();
    let appended = cluster
        .depot(NUMBERS)
        .append_many(&all, AckLevel::AppendAck);
    appended.await.expect("append");
    for source in sources {
        loop {
            let processed = cluster.processed_offsets("Exact", "t", source).await;
            let ends = processed.expect("known").into_iter().map(|range| range.end);
            if ends.sum::<u64>() == numbers.end {
                break;
            }
            cluster.sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn seen(cluster: &Cluster, seen: PState<Seen>, n: u64) -> Vec<u64> {
    let ids = cluster.pstate(seen).select_one(seen.key(&n)).await;
    ids.expect("select").unwrap_or_default()
}

const BOTH: [&str; 2] = ["*numbers", "*numbers//all"];

/// S-24: a topology consumes a depot a second time, from the beginning, with progress of its own; when
/// it has caught up both chains get the same records in the same microbatches, and may become one.
#[test]
fn two_sources_of_a_microbatch_converge_and_merge() {
    for seed in 0..10 {
        let options = Settings::new().with(Level::Module, MICROBATCH_MAX_RECORDS.name, 7);
        let world = Simulation::seed(seed).options(options);
        world.run(Exact(Chains::One), |cluster| async move {
            cluster.calm().await;
            append(&cluster, 0..100, &BOTH[..1]).await;
            cluster.update(Exact(Chains::Twins)).await.expect("update");
            if seed % 2 == 0 {
                cluster.power_cut().await;
            }
            append(&cluster, 100..150, &BOTH).await;
            if seed % 3 == 0 {
                cluster.power_cut().await;
            }
            let mut end = 150;
            while end < 200 {
                let next = end + 1 + cluster.random_u64() % 20;
                append(&cluster, end..next, &BOTH[..seed as usize % 2]).await;
                end = next;
            }
            append(&cluster, end..end, &BOTH).await;
            for n in 0..end {
                let [one, other] = [ONE, OTHER].map(|ids| seen(&cluster, ids, n));
                let (one, other) = (one.await, other.await);
                assert_eq!((one.len(), other.len()), (1, 1), "seed {seed}: {n}");
                assert!(
                    n < 150 || one == other,
                    "seed {seed}: {n} in {one:?}, {other:?}"
                );
            }
            cluster.pause("Exact", "t").await.expect("pause");
            cluster.update(Exact(Chains::Merged)).await.expect("update");
            cluster.resume("Exact", "t").await.expect("resume");
            append(&cluster, end..end + 10, &BOTH[..1]).await;
            for n in 0..end + 10 {
                for ids in [ONE, OTHER] {
                    assert_eq!(seen(&cluster, ids, n).await.len(), 1, "seed {seed}: {n}");
                }
            }
        });
    }
}

/// The same by a stream.
struct Streamed {
    twins: bool,
    options: fn(SourceOptions<rama::Stream>) -> SourceOptions<rama::Stream>,
}

impl Module for Streamed {
    fn name(&self) -> String {
        "Streamed".into()
    }

    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        let mut s = m.stream("t");
        let (one, other) = (s.pstate(ONE), s.pstate(OTHER));
        s.source(NUMBERS).each(move |task, n| note(task, one, n));
        if self.twins {
            let options = SourceOptions::new().source_id("all").start_from_beginning();
            s.source_with(NUMBERS, (self.options)(options))
                .each(move |task, n| note(task, other, n));
        }
    }
}

/// S-24, D-15: a stream's second source catches up, too, and its appenders wait for both.
#[test]
fn two_sources_of_a_stream_are_waited_for() {
    for seed in 0..5 {
        let streamed = |twins| Streamed {
            twins,
            options: |options| options,
        };
        Simulation::seed(seed).run(streamed(false), |cluster| async move {
            cluster.calm().await;
            for n in 0..20 {
                cluster.depot(NUMBERS).append(&n).await.expect("append");
            }
            cluster.update(streamed(true)).await.expect("update");
            for n in 20..40 {
                cluster.depot(NUMBERS).append(&n).await.expect("append");
                for ids in [ONE, OTHER] {
                    assert_eq!(seen(&cluster, ids, n).await, [0], "seed {seed}: {n}");
                }
            }
            for n in 0..20 {
                while seen(&cluster, OTHER, n).await.is_empty() {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
                for ids in [ONE, OTHER] {
                    assert_eq!(seen(&cluster, ids, n).await, [0], "seed {seed}: {n}");
                }
            }
        });
    }
}

/// Ids that say nothing.
struct Idle;

impl Module for Idle {
    fn define(&self, m: &mut Setup) {
        m.tick_depot(TICKS, Duration::from_secs(1));
        m.depot_by(NUMBERS, |n| n);
        let mut mb = m.microbatch("mb");
        let named = || SourceOptions::new().source_id("all");
        mb.source_with(TICKS, named()).done();
        mb.source_with(NUMBERS, named()).done();
        mb.source_with(NUMBERS, named()).done();
        mb.source_with(NUMBERS, SourceOptions::new().source_id("a/b"))
            .done();
    }
}

/// S-24: what makes no sense with an id is no definition: ticks, mode none, an id that is taken.
#[test]
fn ids_that_say_nothing_are_no_definition() {
    let mut text = Definition::of(&Idle).expect_err("mistakes").to_string();
    let none = Streamed {
        twins: true,
        options: |options| options.retry_none(),
    };
    text += &Definition::of(&none)
        .expect_err("it misses records")
        .to_string();
    for part in [
        "has an id, but ticks leave nothing to go on at",
        "topology mb consumes *numbers//all twice",
        "source id of *numbers//a/b has a name with a space, a slash",
        "has an id, which is there to miss no record, and retries none",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}
