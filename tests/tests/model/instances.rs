//! What a module runs as: tasks on threads, and what a write leaves in the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use rama::ErrorKind;
use rama::prelude::*;

const EVERYWHERE: Depot<u64> = Depot::named("*everywhere");

/// Notes which thread runs each task.
struct Noting(Arc<Mutex<BTreeMap<u32, ThreadId>>>);

impl Module for Noting {
    fn name(&self) -> String {
        "Noting".into()
    }

    fn define(&self, m: &mut Setup) {
        m.depot_by(EVERYWHERE, |n| n);
        let mut s = m.stream("s");
        let noted = self.0.clone();
        s.source(EVERYWHERE).all_partition().each(move |task, _| {
            let mut noted = noted.lock().expect("no panic while it is held");
            let here = std::thread::current().id();
            let before = noted.insert(task.id(), here);
            assert!(before.is_none_or(|before| before == here), "a task moved");
        });
    }
}

/// O-3, O-4: so many tasks, a power of two, on the threads there are, as evenly as possible and never
/// on more threads than tasks.
#[tokio::test]
async fn tasks_are_spread_over_threads() {
    for (tasks, threads) in [(1, 2), (2, 2), (8, 3), (16, 2)] {
        let cluster = InProcessCluster::builder().tasks(tasks).threads(threads);
        let cluster = cluster.start().expect("a cluster");
        let noted: Arc<Mutex<BTreeMap<u32, ThreadId>>> = Arc::default();
        cluster.launch(Noting(noted.clone())).await.expect("launch");
        for n in 0..3 {
            cluster.depot(EVERYWHERE).append(&n).await.expect("append");
        }
        let noted = noted.lock().expect("nobody panicked").clone();
        assert!(noted.keys().copied().eq(0..tasks), "{noted:?}");
        let mut by_thread: BTreeMap<String, u32> = BTreeMap::new();
        for thread in noted.values() {
            *by_thread.entry(format!("{thread:?}")).or_default() += 1;
        }
        assert_eq!(by_thread.len() as u32, threads.min(tasks), "{by_thread:?}");
        let (least, most) = (by_thread.values().min(), by_thread.values().max());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 1)
        );
    }
}

/// O-3: the number of tasks is fixed for the life of the module.
#[tokio::test]
async fn the_number_of_tasks_is_fixed() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = |tasks| {
        let cluster = InProcessCluster::builder().tasks(tasks).dir(dir.path());
        cluster.start().expect("a cluster")
    };
    let noting = || Noting(Arc::default());
    let refused = start(3).launch(noting()).await.expect_err("three tasks");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    let cluster = start(4);
    cluster.launch(noting()).await.expect("launch");
    drop(cluster);
    let refused = start(8).launch(noting()).await.expect_err("more tasks");
    assert!(refused.to_string().contains('4'), "{refused}");
    start(4).launch(noting()).await.expect("as before");
}

const CHANGES: Depot<(u64, String)> = Depot::named("*changes");
const NOTES: PState<Map<u64, Map<u64, String>>> = PState::named("$$notes");

/// Keeps all notes below one key.
struct Notes;

impl Module for Notes {
    fn define(&self, m: &mut Setup) {
        m.depot_by(CHANGES, |change| &change.0);
        let mut s = m.stream("s");
        let notes = s.pstate(NOTES);
        s.source(CHANGES)
            .hash_partition(|_| 1u64)
            .each(move |task, (at, note)| notes.key(&1).key(&at).set(task, note));
    }
}

/// How often a text stands in the logs below a directory.
fn in_logs(dir: &Path, text: &str) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found += in_logs(&path, text);
        } else if path.parent().is_some_and(|parent| parent.ends_with("log")) {
            let bytes = std::fs::read(&path).expect("a segment");
            let windows = bytes.windows(text.len());
            found += windows.filter(|window| *window == text.as_bytes()).count();
        }
    }
    found
}

/// P-4: a write is durable, and what goes to the log – and would go to followers – is the write: not
/// the value around it.
#[tokio::test]
async fn a_write_leaves_itself_in_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = || {
        let cluster = InProcessCluster::builder().dir(dir.path());
        cluster.start().expect("a cluster")
    };
    let cluster = start();
    cluster.launch(Notes).await.expect("launch");
    let note = async |at: u64, text: String| {
        let appended = cluster.depot(CHANGES).append(&(at, text)).await;
        appended.expect("append");
    };
    for at in 0..50 {
        note(at, format!("the neighbour {at:02}")).await;
    }
    let before = in_logs(dir.path(), "the neighbour 07");
    for n in 0..100 {
        note(5, format!("changed again {n:02}")).await;
    }
    assert_eq!(in_logs(dir.path(), "the neighbour 07"), before);
    let written = in_logs(dir.path(), "changed again 42");
    assert!((1..=before).contains(&written), "{written} times");
    drop(cluster);
    let cluster = start();
    cluster.launch(Notes).await.expect("launch");
    let notes = cluster.pstate(NOTES).select(NOTES.key(&1).all()).await;
    let notes = notes.expect("select");
    assert_eq!(notes.len(), 50);
    assert_eq!(notes[5], (5, "changed again 99".into()));
    assert_eq!(notes[7], (7, "the neighbour 07".into()));
}
