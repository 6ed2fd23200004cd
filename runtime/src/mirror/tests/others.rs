//! Modules in processes of their own that use each other: found by names, over real links.

use std::time::Duration;

use super::*;
use crate::testing::workers::{Told, at, config_of, connect, two, until_up};
use uuid::Uuid;

use crate::{Cluster, Worker, WorkerConfig};

/// Asks about each event's key, appends an event of another key, and keeps how often that was seen.
struct Once;

const KEPT: PState<Map<u64, u64>> = PState::named("$$kept");
/// Keys of appended events are greater by this.
const ECHO: u64 = 100;

impl Module for Once {
    fn define(&self, m: &mut Setup) {
        let source = m.mirror("Source");
        let (events, seen) = (source.depot(EVENTS), source.pstate(SEEN));
        let seen_of = source.query(SEEN_OF);
        let mut s = m.stream("read");
        let kept = s.pstate(KEPT);
        s.source_with(events, SourceOptions::new().start_from_beginning())
            .filter(|_, (key, _)| *key < ECHO)
            .select(seen, |(key, _)| SEEN.key(key))
            .query_of(seen_of, |((key, _), _)| *key)
            .map(|_, (((key, _), seen), asked)| (key, seen.unwrap_or(0).min(asked)))
            .hash_partition_of(events, |(key, _)| key + ECHO)
            .append_at(events, AckLevel::Ack, |(at, (key, _))| {
                (*at, (key + ECHO, 0))
            })
            .select_at(seen, |(at, (key, _))| (*at, SEEN.key(&(key + ECHO))))
            .hash_partition(|((_, (key, _)), _)| key)
            .each(move |task, ((_, (key, _)), found)| kept.key(&key).set(task, found.unwrap_or(0)));
    }
}

/// One worker with all threads of the other instance.
fn reader_of(dir: &std::path::Path) -> WorkerConfig {
    WorkerConfig {
        instance: Uuid::from_u128(0x16),
        node: Uuid::from_u128(0x200),
        tasks: 2,
        threads: 1,
        local: vec![0],
        dir: dir.join("reader"),
        ..config_of(dir, 0, 7)
    }
}

/// X-1…: a module in another process is read, asked, consumed and appended to by names and
/// types alone; while it restarts, what needs it waits.
#[tokio::test]
async fn a_worker_reaches_other_modules_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Source).await;
    let told = Told::new(at(1, &Source, &[&first, &second]));
    let others = Cluster::connect(told.config(Duration::from_secs(60)))
        .await
        .unwrap();
    let definition = crate::Definition::of(&Once).unwrap();
    others.follow_mirrors(&definition).await;
    let reader = Worker::bind(reader_of(dir.path())).await.unwrap();
    reader.set_others(others);
    connect(&[&reader]);
    reader.launch(&Once).await.unwrap();

    let source = first.cluster();
    let events = source.depot(EVENTS);
    for key in 0..8 {
        until_up(&source, || events.append(&(key, 1))).await;
    }
    let mine = reader.cluster();
    let kept = async |key: u64| loop {
        let kept = until_up(&mine, || mine.pstate(KEPT).select(KEPT.key(&key))).await;
        if let Some(kept) = kept {
            return kept;
        }
        mine.sleep(Duration::from_millis(10)).await;
    };
    for key in 0..8 {
        assert!(kept(key).await >= 1, "an append of ours is seen there");
    }

    second.shutdown().await.unwrap();
    let second = Worker::bind(config_of(dir.path(), 1, 2)).await.unwrap();
    connect(&[&first, &second]);
    told.say(at(2, &Source, &[&first, &second]));
    second.launch(&Source).await.unwrap();
    for key in 8..16 {
        until_up(&source, || events.append(&(key, 1))).await;
    }
    for key in 8..16 {
        assert!(kept(key).await >= 1);
    }
    assert_eq!(mine.dead_letters("Once").await.unwrap(), []);
    reader.shutdown().await.unwrap();
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
