//! Values that become subindexed structures, and structs whose fixed keys change (P-50).

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{Set, Untracked};

#[derive(Schema)]
struct FansV1 {
    name: String,
    notes: List<String>,
    log: Vec<String>,
    heard: BTreeMap<String, u64>,
    fans: BTreeSet<String>,
    loose: BTreeMap<u64, String>,
}

/// Notes are gone, a country has come, and what was whole is subindexed.
#[derive(Schema)]
struct FansV2 {
    name: String,
    country: String,
    log: List<String>,
    heard: Map<String, u64>,
    fans: Set<String>,
    loose: Map<u64, String, Untracked>,
}

const BY_ARTIST_V1: PState<Map<String, Map<String, FansV1>>> = PState::named("$$byArtist");
const BY_ARTIST_V2: PState<Map<String, Map<String, FansV2>>> = PState::named("$$byArtist");
const SONGS_V1: PState<Map<String, Vec<String>>> = PState::named("$$songs");
const SONGS_V2: PState<Map<String, List<(String, u64)>>> = PState::named("$$songs");
const ALL_V1: PState<BTreeMap<String, u64>> = PState::named("$$all").global();
const ALL_V2: PState<Map<String, u64>> = PState::named("$$all").global();

/// A song that begins with `-` takes everything of the artist away; one with `x` only the song. With a
/// migration that changes nothing, all that was written before comes into tables.
fn first_code(into_tables: bool) -> impl Fn(&mut Setup) + Send + Sync {
    move |m| first(m, into_tables)
}

fn first(m: &mut Setup, into_tables: bool) {
    let mut mb = m.microbatch("catalog");
    let (artists, songs, all) = (
        mb.pstate(BY_ARTIST_V1),
        mb.pstate(SONGS_V1),
        mb.pstate(ALL_V1),
    );
    if into_tables {
        mb.migrate("same", ALL_V1.root(), |old: BTreeMap<String, u64>| old);
    }
    mb.source_with(PLAYS, from_beginning())
        .map(move |task, (artist, song): (String, String)| {
            let at = artists.key(&artist).key("album");
            if song.starts_with('-') {
                artists.remove(task, &artist);
                songs.remove(task, &artist);
                return song;
            }
            at.name().set(task, artist.clone());
            at.notes().append(task, song.clone());
            at.log().modify(task, |log| log.push(song.clone()));
            at.heard()
                .modify(task, |heard| match song.strip_prefix('x') {
                    Some(gone) => drop(heard.remove(gone)),
                    None => *heard.entry(song.clone()).or_default() += 1,
                });
            at.fans().modify(task, |fans| fans.insert(song.clone()));
            let len = song.len() as u64;
            at.loose()
                .modify(task, |loose| loose.insert(len, song.clone()));
            songs
                .key(&artist)
                .modify(task, |songs| songs.push(song.clone()));
            song
        })
        .global_partition()
        .each(move |task, song| {
            all.root()
                .modify(task, |all| *all.entry(song).or_default() += 1);
        });
}

fn next_code(migrations: bool) -> impl Fn(&mut Setup) + Send + Sync {
    move |m| {
        let mut mb = m.microbatch("catalog");
        let (artists, songs) = (mb.pstate(BY_ARTIST_V2), mb.pstate(SONGS_V2));
        let all = mb.pstate(ALL_V2);
        if migrations {
            let at = BY_ARTIST_V2.each_value().each_value();
            mb.migrate_keys::<FansV1>("keys", at.clone());
            mb.migrate_to_subindexed("log", at.log(), |old: Vec<String>| old);
            mb.migrate_to_subindexed("heard", at.heard(), |old: BTreeMap<String, u64>| old);
            mb.migrate_to_subindexed("fans", at.fans(), |old: BTreeSet<String>| old);
            mb.migrate_to_subindexed("loose", at.loose(), |old: BTreeMap<u64, String>| old);
            // Three steps at one place: another value, its elements, other elements.
            let upper = |old: Vec<String>| -> Vec<String> {
                old.iter().map(|song| song.to_uppercase()).collect()
            };
            mb.migrate("upper", SONGS_V2.each_value(), upper);
            mb.migrate_to_subindexed("songs", SONGS_V2.each_value(), |old: Vec<String>| old);
            let lens = |old: String| {
                let len = old.len() as u64;
                (old, len)
            };
            mb.migrate("lens", SONGS_V2.each_value().each_value(), lens);
            mb.migrate_to_subindexed("all", ALL_V2.root(), |old: BTreeMap<String, u64>| old);
        }
        mb.source_with(PLAYS, from_beginning())
            .map(move |task, (artist, song): (String, String)| {
                let at = artists.key(&artist).key("album");
                if song.starts_with('-') {
                    artists.remove(task, &artist);
                    songs.remove(task, &artist);
                    return song;
                }
                at.name().set(task, artist.clone());
                at.country().set(task, "new".to_owned());
                at.log().append(task, song.clone());
                match song.strip_prefix('x') {
                    Some(gone) => at.heard().remove(task, gone),
                    None => at.heard().key(&song).update(task, |n| n.unwrap_or(0) + 1),
                }
                at.fans().insert(task, &song);
                at.loose().key(&(song.len() as u64)).set(task, song.clone());
                let len = song.len() as u64;
                songs.key(&artist).append(task, (song.to_uppercase(), len));
                song
            })
            .global_partition()
            .each(move |task, song| {
                all.key(&song).update(task, |n| n.unwrap_or(0) + 1);
            });
    }
}

/// What the code makes of plays, as plain as can be.
#[derive(Clone, Default, PartialEq, Debug)]
struct Told {
    log: Vec<String>,
    heard: BTreeMap<String, u64>,
    fans: BTreeSet<String>,
    loose: BTreeMap<u64, String>,
    songs: Vec<(String, u64)>,
}

fn told(plays: &[(String, String)]) -> (BTreeMap<String, Told>, BTreeMap<String, u64>) {
    let (mut artists, mut all) = (BTreeMap::<String, Told>::new(), BTreeMap::new());
    for (artist, song) in plays {
        *all.entry(song.clone()).or_default() += 1;
        if song.starts_with('-') {
            artists.remove(artist);
            continue;
        }
        let told = artists.entry(artist.clone()).or_default();
        told.log.push(song.clone());
        match song.strip_prefix('x') {
            Some(gone) => drop(told.heard.remove(gone)),
            None => *told.heard.entry(song.clone()).or_default() += 1,
        }
        told.fans.insert(song.clone());
        let len = song.len() as u64;
        told.loose.insert(len, song.clone());
        told.songs.push((song.to_uppercase(), len));
    }
    (artists, all)
}

/// The same calls for both kinds of cluster.
macro_rules! select {
    ($cluster:expr, $pstate:expr, $path:expr) => {
        $cluster.pstate($pstate).select($path).await.unwrap()
    };
}

macro_rules! check_all {
    ($cluster:expr, $plays:expr, $what:expr) => {{
        let (artists, all) = told(&$plays);
        let (cluster, what) = ($cluster, $what);
        for artist in ["ann", "bob"] {
            let want = artists.get(artist).cloned().unwrap_or_default();
            let at = BY_ARTIST_V2.key(artist).key("album");
            let name = select!(cluster, BY_ARTIST_V2, at.name());
            assert_eq!(name.is_some(), artists.contains_key(artist), "{what}");
            let albums = select!(cluster, BY_ARTIST_V2, BY_ARTIST_V2.key(artist).select_len());
            assert_eq!(albums, u64::from(artists.contains_key(artist)), "{what}");
            let mut got = Told {
                log: select!(cluster, BY_ARTIST_V2, at.log().all()),
                songs: select!(cluster, SONGS_V2, SONGS_V2.key(artist).all()),
                ..Told::default()
            };
            got.heard
                .extend(select!(cluster, BY_ARTIST_V2, at.heard().all()));
            got.fans
                .extend(select!(cluster, BY_ARTIST_V2, at.fans().all()));
            got.loose
                .extend(select!(cluster, BY_ARTIST_V2, at.loose().all()));
            assert_eq!(got, want, "{what}");
            let len = |len: usize| len as u64;
            let found = select!(cluster, BY_ARTIST_V2, at.log().select_len());
            assert_eq!(found, len(want.log.len()), "{what}");
            let found = select!(cluster, BY_ARTIST_V2, at.heard().select_len());
            assert_eq!(found, len(want.heard.len()), "{what}");
            let found = select!(cluster, BY_ARTIST_V2, at.fans().select_len());
            assert_eq!(found, len(want.fans.len()), "{what}");
            let found = select!(cluster, BY_ARTIST_V2, at.loose().select_len());
            assert_eq!(found, len(want.loose.len()), "{what}");
            let found = select!(cluster, SONGS_V2, SONGS_V2.key(artist).select_len());
            assert_eq!(found, len(want.songs.len()), "{what}");
            for song in ["one", "two", "four"] {
                let found = select!(cluster, BY_ARTIST_V2, at.heard().key(song));
                assert_eq!(found, want.heard.get(song).copied(), "{what}");
                let found = select!(cluster, BY_ARTIST_V2, at.fans().select_contains(song));
                assert_eq!(found, want.fans.contains(song), "{what}");
            }
            let last = select!(cluster, BY_ARTIST_V2, at.log().last_n(2).descending());
            let expected: Vec<_> = want.log.iter().rev().take(2).cloned().collect();
            assert_eq!(last, expected, "{what}");
            let first = select!(
                cluster,
                BY_ARTIST_V2,
                at.heard().range("p".to_owned()..).first_n(1)
            );
            let expected = want.heard.range("p".to_owned()..).next();
            let expected = expected.map(|(song, n)| (song.clone(), *n));
            assert_eq!(first, Vec::from_iter(expected), "{what}");
            let second = select!(cluster, SONGS_V2, SONGS_V2.key(artist).at(1));
            assert_eq!(second, want.songs.get(1).cloned(), "{what}");
        }
        let found = select!(cluster, ALL_V2, ALL_V2.all());
        assert_eq!(BTreeMap::from_iter(found), all, "{what}");
    }};
}

async fn append_all(cluster: &InProcessCluster, plays: &mut Vec<(String, String)>, new: &[&str]) {
    for artist_and_song in new {
        let (artist, song) = artist_and_song.split_once(' ').unwrap();
        let new = play(artist, song);
        cluster.depot(PLAYS).append(&new).await.unwrap();
        plays.push(new);
    }
    let count = plays.len() as u64;
    cluster
        .wait_for_processed("Music", "catalog", count)
        .await
        .unwrap();
}

/// P-50, P-51, P-53: every read finds the parts right after the update, also of what is written
/// meanwhile, and without the migrations when they are complete.
#[test]
fn parts_are_read_and_written_right_after_the_update_and_when_it_is_complete() {
    for (tasks, threads) in [(1, 1), (4, 2)] {
        let slow = Settings::new()
            .with(Level::Module, SLOW, 1)
            .with(Level::Module, STEP, 1);
        let builder = InProcessCluster::builder().tasks(tasks).threads(threads);
        let cluster = builder.options(slow).start().unwrap();
        block_on(async {
            let mut plays = Vec::new();
            cluster.launch(music(first_code(false))).await.unwrap();
            let first = [
                "ann one",
                "ann two",
                "bob one",
                "ann one",
                "ann three",
                "bob xone",
            ];
            append_all(&cluster, &mut plays, &first).await;
            cluster.update(music(first_code(true))).await.unwrap();
            complete(&cluster).await;
            cluster.update(music(next_code(true))).await.unwrap();
            check_all!(&cluster, plays, "after the update");
            let path = BY_ARTIST_V2.key("ann").key("album").heard().key("one");
            let mut proxy = cluster.pstate(BY_ARTIST_V2).proxy(path).await.unwrap();
            assert_eq!(*proxy.next().await.unwrap().new, Some(2));
            append_all(&cluster, &mut plays, &["ann one", "ann four"]).await;
            assert_eq!(*proxy.next().await.unwrap().new, Some(3));
            check_all!(&cluster, plays, "after writes");
            let refused = cluster.update(music(next_code(false))).await.unwrap_err();
            assert!(refused.to_string().contains("is not complete"), "{refused}");
            let more = ["bob -", "bob two", "ann xtwo", "bob one", "ann one"];
            append_all(&cluster, &mut plays, &more).await;
            check_all!(&cluster, plays, "after removals");
            for option in [SLOW, STEP] {
                let set = cluster.set_option("Music", Level::Module, option, 1_000_000);
                set.await.unwrap();
            }
            complete(&cluster).await;
            check_all!(&cluster, plays, "when complete");
            cluster.update(music(next_code(false))).await.unwrap();
            append_all(&cluster, &mut plays, &["ann -", "ann five"]).await;
            check_all!(&cluster, plays, "without migrations");
            let at = BY_ARTIST_V2.key("ann").key("album");
            assert_eq!(
                select!(&cluster, BY_ARTIST_V2, at.country()),
                Some("new".to_owned())
            );
        });
    }
}

/// P-51, P-53: whenever the power goes.
#[test]
fn power_cuts_while_parts_are_written_lose_and_repeat_nothing() {
    for seed in 0..60 {
        let slow =
            Settings::new()
                .with(Level::Module, SLOW, 300)
                .with(Level::Module, STEP, 1 + seed % 7);
        let simulation = Simulation::seed(seed).tasks(2).options(slow);
        simulation.run(music(first_code(false)), |cluster| async move {
            let mut plays = Vec::new();
            play_some(&cluster, &mut plays, 14).await;
            cluster.update(music(first_code(true))).await.unwrap();
            complete_all(&cluster).await;
            play_some(&cluster, &mut plays, 4).await;
            cluster.update(music(next_code(true))).await.unwrap();
            for round in 0..4 {
                check_all!(&cluster, plays, format!("seed {seed} round {round}"));
                let count = cluster.random_u64() % 4;
                play_some(&cluster, &mut plays, count).await;
                let nap = cluster.random_u64() % 60;
                cluster.sleep(Duration::from_millis(nap)).await;
                cluster.power_cut().await;
                cluster.calm().await;
            }
            complete_all(&cluster).await;
            cluster.update(music(next_code(false))).await.unwrap();
            play_some(&cluster, &mut plays, 3).await;
            check_all!(&cluster, plays, format!("seed {seed} at the end"));
        });
    }
}

async fn complete_all(cluster: &SimulatedCluster) {
    let left = |found: &MigrationStatus| !found.complete;
    while cluster.migrations().await.unwrap().iter().any(left) {
        cluster.sleep(Duration::from_millis(20)).await;
    }
}

async fn play_some(cluster: &SimulatedCluster, plays: &mut Vec<(String, String)>, count: u64) {
    cluster.calm().await;
    for _ in 0..count {
        let random = cluster.random_u64();
        let artist = ["ann", "bob"][random as usize % 2];
        let songs = ["one", "two", "three", "four", "xone", "xtwo", "one", "-"];
        let new = play(artist, songs[(random >> 8) as usize % songs.len()]);
        cluster.depot(PLAYS).append(&new).await.unwrap();
        plays.push(new);
    }
    let (all, count) = (Duration::from_secs(3600), plays.len() as u64);
    cluster
        .wait_for_processed("Music", "catalog", count, all)
        .await
        .unwrap();
}

/// §19: a structure that no migration makes of a value is refused with both types, as are other fields.
#[test]
fn other_shapes_than_the_stored_ones_are_refused_with_both() {
    let cluster = InProcessCluster::new(2, 1).unwrap();
    block_on(async {
        cluster.launch(music(first_code(false))).await.unwrap();
        let refused = cluster.update(music(next_code(false))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        let text = refused.to_string();
        for part in [
            "$$songs holds Map<String, Vec<String>> on disk and the code declares \
             Map<String, List<(String, u64)>>",
            "$$byArtist holds Map<String, Map<String, FansV1>> on disk and the code declares \
             Map<String, Map<String, FansV2>>",
        ] {
            assert!(text.contains(part), "{text}");
        }
    });
}
