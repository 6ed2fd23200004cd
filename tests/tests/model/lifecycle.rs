//! What an update does to objects that move or go.

use rama::ErrorKind;
use rama::prelude::*;

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const LETTERS: Depot<String> = Depot::named("*letters");
const COUNTS: PState<Map<u64, u64>> = PState::named("$$counts");
const LENGTHS: PState<Map<String, u64>> = PState::named("$$lengths");

/// Counts numbers in the one topology or in the other.
struct Moving {
    owner: &'static str,
}

impl Module for Moving {
    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        for topology in ["one", "other"] {
            let mut mb = m.microbatch(topology);
            if topology == self.owner {
                let counts = mb.pstate(COUNTS);
                mb.source(NUMBERS)
                    .each(move |task, n| counts.key(&n).modify(task, |count| *count += 1));
            } else {
                mb.source(NUMBERS).done();
            }
        }
    }
}

/// an update may give a PState to another topology, which goes on with its values.
#[tokio::test]
async fn a_pstate_moves_to_another_topology() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster
        .launch(Moving { owner: "one" })
        .await
        .expect("launch");
    for (count, owner) in (1..).zip(["one", "other", "one"]) {
        cluster.update(Moving { owner }).await.expect("update");
        cluster.depot(NUMBERS).append(&5).await.expect("append");
        for topology in ["one", "other"] {
            let all = cluster.wait_for_processed("Moving", topology, count).await;
            all.expect("processed");
        }
        let found = cluster.pstate(COUNTS).select_one(COUNTS.key(&5)).await;
        assert_eq!(found.expect("select"), Some(count), "by {owner}");
    }
}

/// Has a second depot and PState, or not.
struct Shrinking {
    letters: bool,
}

impl Module for Shrinking {
    fn name(&self) -> String {
        "Shrinking".into()
    }

    fn define(&self, m: &mut Setup) {
        m.depot_by(NUMBERS, |n| n);
        let mut s = m.stream("s");
        let counts = s.pstate(COUNTS);
        s.source(NUMBERS)
            .each(move |task, n| counts.key(&n).modify(task, |count| *count += 1));
        if self.letters {
            m.depot_by(LETTERS, |letters| letters);
            let mut s = m.stream("letters");
            let lengths = s.pstate(LENGTHS);
            s.source(LETTERS)
                .each(move |task, letters| lengths.key(&letters).set(task, letters.len() as u64));
        }
    }
}

async fn append(cluster: &Cluster, letters: &str) {
    let appended = cluster.depot(LETTERS).append(&letters.to_owned()).await;
    appended.expect("append");
}

async fn length(cluster: &Cluster, letters: &str) -> Option<u64> {
    let lengths = cluster.pstate(LENGTHS);
    let length = lengths.select_one(LENGTHS.key(letters)).await;
    length.expect("select")
}

const GONE: [&str; 2] = ["*letters", "$$lengths"];

/// an update whose code lacks objects is refused unless exactly these are listed, and leaves the
/// module as it runs; one that lists them takes their data away, and no other.
#[tokio::test]
async fn objects_go_when_they_are_listed() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster
        .launch(Shrinking { letters: true })
        .await
        .expect("launch");
    append(&cluster, "abc").await;
    cluster.depot(NUMBERS).append(&1).await.expect("append");
    let less = || Shrinking { letters: false };
    let refused = [
        (cluster.update(less()).await, "lacks *letters, $$lengths"),
        (
            cluster.update_deleting(less(), &["*letters"]).await,
            "lacks $$lengths",
        ),
        (
            cluster
                .update_deleting(less(), &["*letters", "$$lengths", "$$counts"])
                .await,
            "$$counts is listed, but the new code declares it",
        ),
        (
            cluster
                .update_deleting(less(), &["*letters", "$$lengths", "$$never"])
                .await,
            "$$never is listed, but there is no such object",
        ),
        (
            cluster
                .update_deleting(Shrinking { letters: true }, &["*letters"])
                .await,
            "*letters is listed, but the new code declares it",
        ),
    ];
    for (refused, text) in refused {
        let error = refused.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    append(&cluster, "abcd").await;
    assert_eq!(length(&cluster, "abc").await, Some(3), "nothing was done");
    let gone = cluster.update_deleting(less(), &GONE).await;
    gone.expect("update");
    let error = cluster.depot(LETTERS).partition_info(0).await;
    assert_eq!(error.expect_err("it is gone").kind(), ErrorKind::NotFound);
    let count = cluster.pstate(COUNTS).select_one(COUNTS.key(&1)).await;
    assert_eq!(count.expect("select"), Some(1));
    // The names are free again, and stand for new objects.
    let more = cluster.update(Shrinking { letters: true }).await;
    more.expect("update");
    assert_eq!(length(&cluster, "abc").await, None);
    append(&cluster, "a").await;
    assert_eq!(
        cluster.depot(LETTERS).read_all().await.expect("read"),
        ["a"]
    );
    assert_eq!(length(&cluster, "a").await, Some(1));
}

/// what is gone stays gone over power cuts, and what came in its place stays.
#[test]
fn objects_that_went_stay_gone_over_power_cuts() {
    for seed in 0..10 {
        let world = Simulation::seed(seed);
        world.run(Shrinking { letters: true }, |cluster| async move {
            cluster.calm().await;
            append(&cluster, "abc").await;
            let less = Shrinking { letters: false };
            let gone = cluster.update_deleting(less, &GONE).await;
            gone.expect("update");
            if seed % 2 == 0 {
                cluster.power_cut().await;
            }
            let more = cluster.update(Shrinking { letters: true }).await;
            more.expect("update");
            append(&cluster, "a").await;
            for _ in 0..2 {
                cluster.power_cut().await;
                assert_eq!(length(&cluster, "abc").await, None, "seed {seed}");
                assert_eq!(length(&cluster, "a").await, Some(1), "seed {seed}");
                let letters = cluster.depot(LETTERS).read_all().await;
                assert_eq!(letters.expect("read"), ["a"], "seed {seed}");
            }
        });
    }
}
