//! Subindexed structures that become values (P-50).

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{Set, Untracked};

#[derive(Schema)]
struct ArtistV1 {
    name: String,
    heard: Map<String, u64, Untracked>,
}

#[derive(Schema)]
struct ArtistV2 {
    name: String,
    heard: BTreeMap<String, u64>,
}

const ARTISTS_V1: PState<Map<String, Map<String, ArtistV1>>> = PState::named("$$artists");
const ARTISTS_V2: PState<Map<String, Map<String, ArtistV2>>> = PState::named("$$artists");
const SONGS_V1: PState<Map<String, List<String>>> = PState::named("$$songs");
const SONGS_V2: PState<Map<String, List<String>>> = PState::named("$$songs");
const LENS_V1: PState<Map<String, Map<u64, Set<String>>>> = PState::named("$$lens");
const LENS_V2: PState<Map<String, BTreeMap<u64, BTreeSet<String>>>> = PState::named("$$lens");
const ALL_V1: PState<Map<String, u64>> = PState::named("$$all").global();
const ALL_V2: PState<BTreeMap<String, u64>> = PState::named("$$all").global();

/// A song that begins with `-` takes everything of the artist away; one with `x` only the song.
fn first_code(m: &mut Setup) {
    let mut mb = m.microbatch("catalog");
    let (artists, songs) = (mb.pstate(ARTISTS_V1), mb.pstate(SONGS_V1));
    let (lens, all) = (mb.pstate(LENS_V1), mb.pstate(ALL_V1));
    mb.source_with(PLAYS, from_beginning())
        .map(move |task, (artist, song): (String, String)| {
            let at = artists.key(&artist).key("album");
            if song.starts_with('-') {
                artists.remove(task, &artist);
                songs.remove(task, &artist);
                lens.remove(task, &artist);
                return song;
            }
            at.name().set(task, artist.clone());
            match song.strip_prefix('x') {
                Some(gone) => at.heard().remove(task, gone),
                None => at.heard().key(&song).update(task, |n| n.unwrap_or(0) + 1),
            }
            let len = song.len() as u64;
            lens.key(&artist).key(&len).insert(task, &song);
            songs.key(&artist).append(task, song.clone());
            song
        })
        .global_partition()
        .each(move |task, song| all.key(&song).update(task, |n| n.unwrap_or(0) + 1));
}

fn next_code(migrations: bool) -> impl Fn(&mut Setup) + Send + Sync {
    move |m| {
        let mut mb = m.microbatch("catalog");
        let (artists, songs) = (mb.pstate(ARTISTS_V2), mb.pstate(SONGS_V2));
        let (lens, all) = (mb.pstate(LENS_V2), mb.pstate(ALL_V2));
        if migrations {
            let at = ARTISTS_V2.each_value().each_value().heard();
            mb.migrate_from_subindexed::<Map<String, u64, Untracked>, _>("heard", at, |old| old);
            // Three steps at one place: one value, another one, and its elements.
            let at = SONGS_V2.each_value();
            mb.migrate_from_subindexed::<List<String>, _>("songs", at.clone(), |old| old);
            mb.migrate("twice", at.clone(), |old: Vec<String>| {
                old.into_iter()
                    .flat_map(|song| [song.clone(), song])
                    .collect::<Vec<_>>()
            });
            mb.migrate_to_subindexed("songs again", at, |old: Vec<String>| old);
            let at = LENS_V2.each_value();
            mb.migrate_from_subindexed::<Map<u64, Set<String>>, _>("lens", at, |old| old);
            let at = ALL_V2.root();
            mb.migrate_from_subindexed::<Map<String, u64>, _>("all", at, |old| old);
        }
        mb.source_with(PLAYS, from_beginning())
            .map(move |task, (artist, song): (String, String)| {
                let at = artists.key(&artist).key("album");
                if song.starts_with('-') {
                    artists.remove(task, &artist);
                    songs.remove(task, &artist);
                    lens.remove(task, &artist);
                    return song;
                }
                at.name().set(task, artist.clone());
                at.heard()
                    .modify(task, |heard| match song.strip_prefix('x') {
                        Some(gone) => drop(heard.remove(gone)),
                        None => *heard.entry(song.clone()).or_default() += 1,
                    });
                let len = song.len() as u64;
                lens.key(&artist).modify(task, |lens| {
                    lens.entry(len).or_default().insert(song.clone());
                });
                songs.key(&artist).append(task, song.clone());
                songs.key(&artist).append(task, song.clone());
                song
            })
            .global_partition()
            .each(move |task, song| {
                all.root()
                    .modify(task, |all| *all.entry(song).or_default() += 1);
            });
    }
}

/// What the code makes of plays, as plain as can be.
#[derive(Clone, Default, PartialEq, Debug)]
struct Told {
    heard: Option<BTreeMap<String, u64>>,
    lens: Option<BTreeMap<u64, BTreeSet<String>>>,
    songs: Vec<String>,
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
        let heard = told.heard.get_or_insert_default();
        match song.strip_prefix('x') {
            Some(gone) => drop(heard.remove(gone)),
            None => *heard.entry(song.clone()).or_default() += 1,
        }
        let lens = told.lens.get_or_insert_default();
        lens.entry(song.len() as u64)
            .or_default()
            .insert(song.clone());
        told.songs.extend([song.clone(), song.clone()]);
    }
    (artists, all)
}

/// The same calls for both kinds of cluster.
macro_rules! check_all {
    ($cluster:expr, $plays:expr, $what:expr) => {{
        let (artists, all) = told(&$plays);
        let (cluster, what) = ($cluster, $what);
        for artist in ["ann", "bob"] {
            let want = artists.get(artist).cloned().unwrap_or_default();
            let albums = cluster.pstate(ARTISTS_V2);
            let at = ARTISTS_V2.key(artist).key("album");
            let heard = albums.select(at.heard()).await.unwrap();
            // Without a size, a map with nothing in it was not there.
            let heard = heard.filter(|heard| !heard.is_empty());
            let expected = want.heard.filter(|heard| !heard.is_empty());
            assert_eq!(heard, expected, "{what}");
            let count = albums
                .select(ARTISTS_V2.key(artist).select_len())
                .await
                .unwrap();
            assert_eq!(count, u64::from(artists.contains_key(artist)), "{what}");
            let lens = cluster
                .pstate(LENS_V2)
                .select(LENS_V2.key(artist))
                .await
                .unwrap();
            assert_eq!(lens, want.lens, "{what}");
            let songs = cluster.pstate(SONGS_V2);
            let found = songs.select(SONGS_V2.key(artist).all()).await.unwrap();
            assert_eq!(found, want.songs, "{what}");
            let found = songs
                .select(SONGS_V2.key(artist).select_len())
                .await
                .unwrap();
            assert_eq!(found, want.songs.len() as u64, "{what}");
            let last = songs.select(SONGS_V2.key(artist).last_n(1)).await.unwrap();
            assert_eq!(last.last(), want.songs.last(), "{what}");
        }
        let found = cluster.pstate(ALL_V2).select(ALL_V2.root()).await.unwrap();
        assert_eq!(found.unwrap_or_default(), all, "{what}");
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

/// P-50, P-51, P-53: every read finds the value right after the update, also where it was written
/// meanwhile, and without the migrations when they are complete.
#[test]
fn structures_are_values_right_after_the_update_and_when_it_is_complete() {
    for (tasks, threads) in [(1, 1), (4, 2)] {
        let slow = Settings::new()
            .with(Level::Module, SLOW, 1)
            .with(Level::Module, STEP, 1);
        let builder = InProcessCluster::builder().tasks(tasks).threads(threads);
        let cluster = builder.options(slow).start().unwrap();
        block_on(async {
            let mut plays = Vec::new();
            cluster.launch(music(first_code)).await.unwrap();
            let first = [
                "ann one",
                "ann two",
                "bob one",
                "ann one",
                "ann three",
                "bob xone",
            ];
            append_all(&cluster, &mut plays, &first).await;
            cluster.update(music(next_code(true))).await.unwrap();
            check_all!(&cluster, plays, "after the update");
            let path = LENS_V2.key("ann");
            let mut proxy = cluster.pstate(LENS_V2).proxy(path).await.unwrap();
            assert_eq!(proxy.next().await.unwrap().new.iter().flatten().count(), 2);
            append_all(&cluster, &mut plays, &["ann four"]).await;
            assert_eq!(proxy.next().await.unwrap().new.iter().flatten().count(), 3);
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
        });
    }
}

/// P-51, P-53: whenever the power goes, also with batches undecided that the old code has prepared.
#[test]
fn power_cuts_while_values_are_gathered_lose_and_repeat_nothing() {
    for seed in 0..60 {
        let slow =
            Settings::new()
                .with(Level::Module, SLOW, 300)
                .with(Level::Module, STEP, 1 + seed % 7);
        let simulation = Simulation::seed(seed).tasks(2).options(slow);
        simulation.run(music(first_code), |cluster| async move {
            let mut plays = Vec::new();
            play_some(&cluster, &mut plays, 14).await;
            all_played(&cluster, &plays).await;
            play_some(&cluster, &mut plays, cluster.random_u64() % 4).await;
            let nap = cluster.random_u64() % 40;
            cluster.sleep(Duration::from_millis(nap)).await;
            cluster.power_cut().await;
            cluster.calm().await;
            cluster.update(music(next_code(true))).await.unwrap();
            for round in 0..4 {
                all_played(&cluster, &plays).await;
                check_all!(&cluster, plays, format!("seed {seed} round {round}"));
                let count = cluster.random_u64() % 4;
                play_some(&cluster, &mut plays, count).await;
                let nap = cluster.random_u64() % 60;
                cluster.sleep(Duration::from_millis(nap)).await;
                cluster.power_cut().await;
                cluster.calm().await;
            }
            let left = |found: &MigrationStatus| !found.complete;
            while cluster.migrations().await.unwrap().iter().any(left) {
                cluster.sleep(Duration::from_millis(20)).await;
            }
            cluster.update(music(next_code(false))).await.unwrap();
            play_some(&cluster, &mut plays, 3).await;
            all_played(&cluster, &plays).await;
            check_all!(&cluster, plays, format!("seed {seed} at the end"));
        });
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
}

async fn all_played(cluster: &SimulatedCluster, plays: &[(String, String)]) {
    let (long, count) = (Duration::from_secs(3600), plays.len() as u64);
    cluster
        .wait_for_processed("Music", "catalog", count, long)
        .await
        .unwrap();
}
