//! Records from outside, in simulated clusters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::schema::Map;
use crate::simulation::{Faults, SimulatedCluster, Simulation};
use crate::{Depot, ErrorKind, Module, PState, Setup, SourceOptions};

/// Another system: lists of records, whose offsets go up by ten.
#[derive(Clone, Default)]
struct Lists {
    lists: Arc<Mutex<Vec<Vec<u64>>>>,
    /// One call in so many fails; 0 for none.
    fails_one_in: u64,
    calls: Arc<Mutex<u64>>,
}

const STEP: u64 = 10;

impl Lists {
    fn push(&self, partition: usize, record: u64) {
        let mut lists = self.lists.lock().unwrap();
        if lists.len() <= partition {
            lists.resize(partition + 1, Vec::new());
        }
        lists[partition].push(record);
    }

    fn answer<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&[Vec<u64>]) -> Result<T, MakeError>,
    ) -> Fetching<T> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        let answer = match self.fails_one_in > 0 && calls.is_multiple_of(self.fails_one_in) {
            true => Err("the other system is down".into()),
            false => answer(&self.lists.lock().unwrap()),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl ExternalDepot for Lists {
    type Record = u64;

    fn partitions(&self) -> Fetching<u32> {
        self.answer(|lists| Ok(lists.len() as u32))
    }

    fn start_offset(&self, _: u32) -> Fetching<u64> {
        self.answer(|_| Ok(0))
    }

    fn end_offset(&self, partition: u32) -> Fetching<u64> {
        self.answer(|lists| Ok(lists[partition as usize].len() as u64 * STEP))
    }

    fn offset_after(&self, _: u32, time_ms: u64) -> Fetching<Option<u64>> {
        self.answer(|_| Ok((time_ms < 100).then_some(time_ms * STEP)))
    }

    fn fetch(&self, partition: u32, from: u64, most: usize) -> Fetching<Fetched<u64>> {
        self.answer(|lists| {
            let records = lists[partition as usize]
                .iter()
                .skip((from / STEP) as usize);
            let records: Vec<u64> = records.take(most.min(3)).copied().collect();
            let next = from + records.len() as u64 * STEP;
            Ok(Fetched { records, next })
        })
    }
}

const LISTED: Depot<u64> = Depot::named("*listed");
const EXACT: PState<Map<u64, u64>> = PState::named("$$exact");
const STREAMED: PState<Map<u64, u64>> = PState::named("$$streamed");

/// Counts what the lists hold.
struct Counting {
    lists: Lists,
    start: Start,
}

impl Module for Counting {
    fn define(&self, m: &mut Setup) {
        m.external_depot(LISTED, self.start, self.lists.clone());
        let mut exact = m.microbatch("exact");
        let counts = exact.pstate(EXACT);
        let options = SourceOptions::new().start_from_beginning();
        exact
            .source_with(LISTED, options)
            .hash_partition(|record| record)
            .each(move |task, record| counts.key(&record).update(task, |n| n.unwrap_or(0) + 1));
        let mut stream = m.stream("streamed");
        let counts = stream.pstate(STREAMED);
        stream
            .source_with(LISTED, SourceOptions::new().start_from_beginning())
            .hash_partition(|record| record)
            .each(move |task, record| counts.key(&record).update(task, |n| n.unwrap_or(0) + 1));
    }
}

async fn counts(
    cluster: &SimulatedCluster,
    pstate: PState<Map<u64, u64>>,
    records: std::ops::Range<u64>,
) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for record in records {
        if let Some(count) = cluster
            .pstate(pstate)
            .select(pstate.key(&record))
            .await
            .unwrap()
        {
            counts.insert(record, count);
        }
    }
    counts
}

/// G-6: every record of every partition is taken once, over power cuts and failing calls, in
/// streams and microbatches, also from partitions that come later.
#[test]
fn records_from_outside_are_taken_once() {
    for seed in 0..20 {
        let lists = &Lists {
            fails_one_in: 7,
            ..Lists::default()
        };
        let module = Counting {
            lists: lists.clone(),
            start: Start::Beginning,
        };
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(module, |cluster| async move {
            for record in 0..60 {
                // Six partitions on four tasks; the last ones come late.
                lists.push((record % (1 + record / 10)) as usize, record);
                let pause = Duration::from_millis(cluster.random_u64() % 40);
                cluster.sleep(pause).await;
            }
            cluster.calm().await;
            let expected: BTreeMap<u64, u64> = (0..60).map(|record| (record, 1)).collect();
            while counts(&cluster, EXACT, 0..60).await.len() < 60
                || counts(&cluster, STREAMED, 0..60).await.len() < 60
            {
                cluster.sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(
                counts(&cluster, EXACT, 0..60).await,
                expected,
                "seed {seed}"
            );
            let depot = cluster.depot(LISTED);
            let mut taken = Vec::new();
            for partition in 0..depot.partitions().unwrap() {
                let range = depot.partition_info(partition).await.unwrap();
                taken.extend(depot.read(partition, range).await.unwrap());
            }
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..60), "seed {seed}");
            let refused = depot.append(&1).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Rejected);
        });
    }
}

/// G-6, S-21, S-22: where a partition is begun is fixed at the first look.
#[test]
fn external_partitions_begin_where_they_are_told_to() {
    for (start, first) in [
        (Start::Beginning, 0),
        (Start::End, 20),
        (Start::Offset(15 * STEP), 15),
        (Start::Timestamp(12), 12),
        (Start::Timestamp(5000), 20),
        (Start::RecordsAgo(4 * STEP), 16),
    ] {
        let lists = &Lists::default();
        for record in 0..20 {
            lists.push(0, record);
        }
        let module = Counting {
            lists: lists.clone(),
            start,
        };
        Simulation::seed(1).run(module, |cluster| async move {
            cluster.calm().await;
            cluster.sleep(Duration::from_secs(2)).await;
            cluster.power_cut().await;
            for record in 20..25 {
                lists.push(0, record);
            }
            while counts(&cluster, EXACT, 0..25).await.len() < 25 - first {
                cluster.sleep(Duration::from_millis(100)).await;
            }
            let found = counts(&cluster, EXACT, 0..25).await;
            assert!(found.keys().copied().eq(first as u64..25), "{start:?}");
        });
    }
}

/// What would block runs elsewhere; that it panicked is an error.
#[test]
fn blocking_work_answers_whatever_becomes_of_it() {
    assert_eq!(crate::block_on(blocking(|| Ok(7))).unwrap(), 7);
    let failed = crate::block_on(blocking::<u64>(|| Err("no".into()))).unwrap_err();
    assert_eq!(failed.to_string(), "no");
}
