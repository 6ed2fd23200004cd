//! Stored values that change type under a module that goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::options::{Level, Settings};
use crate::status::MigrationStatus;
use crate::{
    Depot, ErrorKind, InProcessCluster, List, Map, Module, PState, Partition, Schema, Setup,
    SimulatedCluster, Simulation, SourceOptions, block_on,
};

mod records;
mod reshape;
mod whole;

/// Artist and song.
const PLAYS: Depot<(String, String)> = Depot::named("*plays");

#[derive(Schema)]
struct ArtistV1 {
    name: String,
    songs: Map<String, String>,
    log: List<String>,
}

#[derive(Schema)]
struct ArtistV2 {
    name: String,
    songs: Map<String, (String, u64)>,
    log: List<(String, bool)>,
}

/// Nothing changed but a field at the end.
#[derive(Schema)]
struct ArtistV3 {
    name: String,
    songs: Map<String, (String, u64)>,
    log: List<(String, bool)>,
    note: String,
}

const V1: PState<Map<String, ArtistV1>> = PState::named("$$artists");
const V2: PState<Map<String, ArtistV2>> = PState::named("$$artists");
const V3: PState<Map<String, ArtistV3>> = PState::named("$$artists");
const COUNT_V1: PState<u64> = PState::named("$$count").initial(|| 0);
const COUNT_V2: PState<(u64, String)> = PState::named("$$count").initial(|| (0, String::new()));

type Define = Arc<dyn Fn(&mut Setup) + Send + Sync>;

#[derive(Clone)]
struct Music(Define);

impl Module for Music {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PLAYS, |play| &play.0);
        (self.0)(m);
    }

    fn name(&self) -> String {
        "Music".to_owned()
    }
}

fn music(define: impl Fn(&mut Setup) + Send + Sync + 'static) -> Music {
    Music(Arc::new(define))
}

fn from_beginning<K>() -> SourceOptions<K> {
    SourceOptions::new().start_from_beginning()
}

fn v1(m: &mut Setup) {
    let mut mb = m.microbatch("catalog");
    let (artists, count) = (mb.pstate(V1), mb.pstate(COUNT_V1));
    mb.source_with(PLAYS, from_beginning())
        .each(move |task, (artist, song)| {
            let at = artists.key(&artist);
            at.name().set(task, artist);
            at.songs().key(&song).set(task, song.to_uppercase());
            at.log().append(task, song);
            count.update(task, |n| n.unwrap_or(0) + 1);
        });
}

/// What a song and an entry of the log are after the first change.
fn song(old: String) -> (String, u64) {
    (old, 1)
}

fn v2(migrations: bool) -> impl Fn(&mut Setup) {
    move |m| {
        let mut mb = m.microbatch("catalog");
        let (artists, count) = (mb.pstate(V2), mb.pstate(COUNT_V2));
        if migrations {
            let artist = V2.each_value();
            mb.migrate("songs are counted", artist.songs().each_value(), song);
            let entry = |old: String| (old, true);
            mb.migrate("log knows migrated", artist.log().each_value(), entry);
            let count = |old: u64| (old, "v2".to_owned());
            mb.migrate("count has a name", COUNT_V2.root(), count);
        }
        mb.source_with(PLAYS, from_beginning())
            .each(move |task, (artist, song)| {
                let at = artists.key(&artist);
                at.name().set(task, artist);
                let title = song.to_uppercase();
                let played = |old: Option<(String, u64)>| (title, old.map_or(1, |old| old.1 + 1));
                at.songs().key(&song).update(task, played);
                at.log().append(task, (song, false));
                count.update(task, |n| {
                    n.map_or((1, "fresh".to_owned()), |n| (n.0 + 1, n.1))
                });
            });
    }
}

fn v3(m: &mut Setup) {
    let mut mb = m.microbatch("catalog");
    let (artists, _) = (mb.pstate(V3), mb.pstate(COUNT_V2));
    mb.source_with(PLAYS, from_beginning())
        .each(move |task, (artist, song)| {
            artists.key(&artist).note().set(task, song);
        });
}

fn play(artist: &str, song: &str) -> (String, String) {
    (artist.to_owned(), song.to_owned())
}

fn named(title: &str, plays: u64) -> Option<(String, u64)> {
    Some((title.to_owned(), plays))
}

async fn complete(cluster: &InProcessCluster) {
    loop {
        let migrations = cluster.migrations("Music").await.unwrap();
        if migrations.iter().all(|found| found.complete) {
            return;
        }
        cluster.sleep(Duration::from_millis(5)).await;
    }
}

/// P-51, P-52, P-53, P-55, X-13: on three levels of two PStates, from the first read on.
#[test]
fn old_values_are_new_right_after_the_update_and_stay_so_without_the_migration() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(music(v1)).await.unwrap();
        for song in ["one", "two", "three"] {
            cluster
                .depot(PLAYS)
                .append(&play("ann", song))
                .await
                .unwrap();
        }
        cluster
            .depot(PLAYS)
            .append(&play("bob", "one"))
            .await
            .unwrap();
        cluster
            .wait_for_processed("Music", "catalog", 4)
            .await
            .unwrap();

        cluster.update(music(v2(true))).await.unwrap();
        let artists = cluster.pstate(V2);
        let ann = V2.key("ann");
        let found = artists.select(ann.songs().key("two")).await.unwrap();
        assert_eq!(found, named("TWO", 1));
        let found = artists.select(ann.songs().all()).await.unwrap();
        assert_eq!(found.len(), 3);
        let found = artists.select(ann.songs().select_len()).await.unwrap();
        assert_eq!(found, 3);
        let log = artists
            .select(ann.log().all().select_entries())
            .await
            .unwrap();
        assert_eq!(log[1], (1, ("two".to_owned(), true)));
        assert_eq!(artists.select(ann.name()).await.unwrap().unwrap(), "ann");

        // New data meets the new code.
        cluster
            .depot(PLAYS)
            .append(&play("ann", "two"))
            .await
            .unwrap();
        cluster
            .depot(PLAYS)
            .append(&play("ann", "four"))
            .await
            .unwrap();
        cluster
            .wait_for_processed("Music", "catalog", 6)
            .await
            .unwrap();
        complete(&cluster).await;
        cluster.update(music(v2(false))).await.unwrap();
        let found = artists.select(ann.songs().key("two")).await.unwrap();
        assert_eq!(found, named("TWO", 2));
        let found = artists.select(ann.songs().key("one")).await.unwrap();
        assert_eq!(found, named("ONE", 1));
        let log = artists
            .select(ann.log().all().select_entries())
            .await
            .unwrap();
        let flags: Vec<bool> = log.iter().map(|(_, (_, migrated))| *migrated).collect();
        assert_eq!(flags, [true, true, true, false, false]);
        let home = COUNT_V2.routed_by(&"ann".to_owned());
        let count = cluster
            .pstate(COUNT_V2)
            .select(home)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(count.1, "v2");

        // P-55: a field at the end needs no migration.
        cluster.update(music(v3)).await.unwrap();
        cluster
            .depot(PLAYS)
            .append(&play("ann", "five"))
            .await
            .unwrap();
        cluster
            .wait_for_processed("Music", "catalog", 7)
            .await
            .unwrap();
        let artists = cluster.pstate(V3);
        let found = artists.select(V3.key("ann").note()).await.unwrap();
        assert_eq!(found.unwrap(), "five");
        let refused = cluster.update(music(v2(false))).await.unwrap_err();
        assert!(
            refused.to_string().contains("holds Map<String, ArtistV3>"),
            "{refused}"
        );
    });
}

const SLOW: &str = "topology.microbatch.migration.max.paths.per.second";
const STEP: &str = "topology.microbatch.migration.max.paths.per.batch";

/// P-53, P-54, X-13: how far it is, and what an update may leave out.
#[test]
fn a_migration_may_go_only_when_it_is_complete() {
    let slow = Settings::new()
        .with(Level::Module, SLOW, 1)
        .with(Level::Module, STEP, 1);
    let builder = InProcessCluster::builder().tasks(2).threads(1);
    let cluster = builder.options(slow).start().unwrap();
    block_on(async {
        cluster.launch(music(v1)).await.unwrap();
        for song in 0..50 {
            let song = format!("song {song}");
            cluster
                .depot(PLAYS)
                .append(&play("ann", &song))
                .await
                .unwrap();
        }
        cluster
            .wait_for_processed("Music", "catalog", 50)
            .await
            .unwrap();
        // The first change brings all of it into tables.
        cluster.update(music(v2(true))).await.unwrap();
        complete(&cluster).await;

        let again = |with: bool| {
            music(move |m: &mut Setup| {
                let mut mb = m.microbatch("catalog");
                mb.pstate(COUNT_V2);
                mb.pstate(AGAIN);
                let at = AGAIN.each_value().songs().each_value();
                if with {
                    mb.migrate("only the count", at, |(_, n): (String, u64)| n);
                }
                mb.source_with(PLAYS, from_beginning()).done();
            })
        };
        cluster.update(again(true)).await.unwrap();
        let artists = cluster.pstate(AGAIN);
        let seven = AGAIN.key("ann").songs().key("song 7");
        assert_eq!(artists.select(seven.clone()).await.unwrap(), Some(1));
        let [
            MigrationStatus {
                complete: done,
                tasks_left: 1,
                ..
            },
        ] = cluster.migrations("Music").await.unwrap()[..]
        else {
            panic!("one migration, on one task");
        };
        assert!(!done);
        let refused = cluster.update(again(false)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        let text = refused.to_string();
        let parts = [
            "\"only the count\" of $$artists is not complete",
            "on 1 tasks",
        ];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        // It runs on as it was. With the same id another update goes on where it is.
        assert_eq!(artists.select(seven.clone()).await.unwrap(), Some(1));
        cluster.update(again(true)).await.unwrap();
        cluster
            .set_option("Music", Level::Module, SLOW, 1_000_000)
            .await
            .unwrap();
        complete(&cluster).await;
        cluster.update(again(false)).await.unwrap();
        assert_eq!(artists.select(seven).await.unwrap(), Some(1));
    });
}

#[derive(Schema)]
struct Again {
    name: String,
    songs: Map<String, u64>,
    log: List<(String, bool)>,
}

const AGAIN: PState<Map<String, Again>> = PState::named("$$artists");

/// §19: bytes that a function does not take are refused before it sees them.
#[test]
fn a_migration_from_another_type_than_the_stored_one_is_refused_with_both() {
    let cluster = InProcessCluster::new(2, 1).unwrap();
    block_on(async {
        cluster.launch(music(v1)).await.unwrap();
        let wrong = music(|m: &mut Setup| {
            let mut mb = m.microbatch("catalog");
            mb.pstate(COUNT_V2);
            let change = |old: i64| (old as u64, String::new());
            mb.migrate("count has a name", COUNT_V2.root(), change);
            mb.source(PLAYS).done();
        });
        let refused = cluster.update(wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        let text = refused.to_string();
        let expected = "$$count holds u64 on disk and its migration \"count has a name\" begins \
                        with i64";
        assert!(text.contains(expected), "{text}");
        let refused = cluster.update(music(v2(false))).await.unwrap_err();
        assert!(
            refused.to_string().contains("say with migrate(…)"),
            "{refused}"
        );
        cluster.update(music(v2(true))).await.unwrap();
        // The same id for something else.
        let other = music(|m: &mut Setup| {
            let mut mb = m.microbatch("catalog");
            mb.pstate(OTHER);
            let change = |old: (u64, String)| old.0.to_string();
            mb.migrate("count has a name", OTHER.root(), change);
            mb.source(PLAYS).done();
        });
        let refused = cluster.update(other).await.unwrap_err().to_string();
        assert!(
            refused.contains("began as one from u64 to (u64, String)"),
            "{refused}"
        );
    });
}

const OTHER: PState<String> = PState::named("$$count");

/// P-57: a new PState has nothing to migrate, whatever its code declares.
#[test]
fn a_launch_with_migrations_begins_with_the_new_types() {
    let cluster = InProcessCluster::new(2, 1).unwrap();
    block_on(async {
        cluster.launch(music(v2(true))).await.unwrap();
        cluster
            .depot(PLAYS)
            .append(&play("ann", "one"))
            .await
            .unwrap();
        cluster
            .wait_for_processed("Music", "catalog", 1)
            .await
            .unwrap();
        let migrations = cluster.migrations("Music").await.unwrap();
        assert_eq!(migrations.len(), 3);
        assert!(
            migrations.iter().all(|found| found.complete),
            "{migrations:?}"
        );
        cluster.update(music(v2(false))).await.unwrap();
        let found = cluster.pstate(V2).select(V2.key("ann").songs().key("one"));
        assert_eq!(found.await.unwrap(), named("ONE", 1));
    });
}

/// A panic in a migration's function is an error of whoever reads that value.
#[test]
fn a_value_that_its_function_does_not_take_fails_its_readers_alone() {
    let cluster = InProcessCluster::new(1, 1).unwrap();
    block_on(async {
        cluster.launch(music(v1)).await.unwrap();
        for song in ["one", "two"] {
            cluster
                .depot(PLAYS)
                .append(&play("ann", song))
                .await
                .unwrap();
        }
        cluster
            .wait_for_processed("Music", "catalog", 2)
            .await
            .unwrap();
        cluster.update(music(v2(true))).await.unwrap();
        complete(&cluster).await;
        cluster
            .update(music(|m: &mut Setup| {
                let mut mb = m.microbatch("catalog");
                mb.pstate(COUNT_V2);
                mb.pstate(AGAIN);
                let at = AGAIN.each_value().songs().each_value();
                mb.migrate("picky", at, |(title, n): (String, u64)| match &title[..] {
                    "TWO" => panic!("two is one too many"),
                    _ => n,
                });
                mb.source(PLAYS).done();
            }))
            .await
            .unwrap();
        let artists = cluster.pstate(AGAIN);
        let songs = AGAIN.key("ann").songs();
        assert_eq!(artists.select(songs.key("one")).await.unwrap(), Some(1));
        let error = artists.select(songs.key("two")).await.unwrap_err();
        assert!(
            format!("{error:#}").contains("two is one too many"),
            "{error:#}"
        );
        loop {
            let found = cluster.migrations("Music").await.unwrap().remove(0);
            assert!(!found.complete);
            if found
                .failure
                .is_some_and(|why| why.contains("two is one too many"))
            {
                return;
            }
            cluster.sleep(Duration::from_millis(5)).await;
        }
    });
}

/// Appends plays and waits for all of them.
async fn play_all(cluster: &SimulatedCluster, songs: std::ops::Range<u64>) {
    for song in songs.clone() {
        let play = play("ann", &format!("song {song}"));
        cluster.depot(PLAYS).append(&play).await.unwrap();
    }
    let all = Duration::from_secs(3600);
    cluster
        .wait_for_processed("Music", "catalog", songs.end, all)
        .await
        .unwrap();
}

/// P-51, P-53: each value passes once, whenever the power goes.
#[test]
fn power_cuts_in_the_middle_of_a_migration_lose_and_repeat_nothing() {
    for seed in 0..100 {
        let slow =
            Settings::new()
                .with(Level::Module, SLOW, 200)
                .with(Level::Module, STEP, 1 + seed % 7);
        let simulation = Simulation::seed(seed).tasks(2).options(slow);
        simulation.run(music(v1), |cluster| async move {
            cluster.calm().await;
            play_all(&cluster, 0..20).await;
            cluster.update(music(v2(true))).await.unwrap();
            for round in 0..4 {
                let nap = cluster.random_u64() % 60;
                cluster.sleep(Duration::from_millis(nap)).await;
                cluster.power_cut().await;
                cluster.calm().await;
                check(&cluster, 20, round).await;
            }
            play_all(&cluster, 20..30).await;
            check(&cluster, 30, 9).await;
            while !cluster
                .migrations()
                .await
                .unwrap()
                .iter()
                .all(|found| found.complete)
            {
                cluster.sleep(Duration::from_millis(20)).await;
            }
            cluster.update(music(v2(false))).await.unwrap();
            check(&cluster, 30, 10).await;
        });
    }
}

async fn check(cluster: &SimulatedCluster, count: u64, round: u64) {
    let ann = V2.key("ann");
    let artists = cluster.pstate(V2);
    let log = artists
        .select(ann.log().all().select_entries())
        .await
        .unwrap();
    assert_eq!(log.len() as u64, count, "round {round}");
    for song in 0..count {
        let at = ann.songs().key(&format!("song {song}"));
        let found = artists.select(at).await.unwrap();
        assert_eq!(found, named(&format!("SONG {song}"), 1), "round {round}");
        assert_eq!(log[song as usize].1.1, song < 20, "round {round}");
    }
}
