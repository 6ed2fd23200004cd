//! What a user of the module would check: songs of the old version read as records right after the
//! update, and new ones are counted (spec P-58).
//!
//! Relies on an in-process cluster at several task counts, and on the simulator for power cuts.

use std::time::Duration;

use music_catalog::{ALBUMS, CATALOG, MusicCatalog, NewAlbum, PLAYS, Play, Song, v1};
use rama::prelude::*;

fn album(artist: &str, title: &str, songs: &[&str]) -> NewAlbum {
    NewAlbum {
        artist: artist.to_owned(),
        title: title.to_owned(),
        songs: songs.iter().map(|song| (*song).to_owned()).collect(),
    }
}

fn song(title: &str, plays: u64) -> Song {
    Song {
        title: title.to_owned(),
        plays,
    }
}

fn play(artist: &str, album: &str, track: u64) -> Play {
    Play {
        artist: artist.to_owned(),
        album: album.to_owned(),
        track,
    }
}

async fn songs(cluster: &Cluster, artist: &str, album: &str) -> Vec<(u64, Song)> {
    let songs = CATALOG.key(artist).key(album).songs();
    let found = cluster.pstate(CATALOG).select(songs.all().select_entries());
    found.await.expect("select")
}

const MODULE: &str = "MusicCatalog";

/// P-50, P-58: the values of the survey's MigrationsMusicCatalog.
#[tokio::test]
async fn songs_are_records_right_after_the_update_and_new_data_meets_new_code() {
    for (tasks, threads) in [(1, 1), (2, 1), (4, 2), (16, 2)] {
        let cluster = InProcessCluster::new(tasks, threads).expect("a cluster");
        cluster.launch(v1::MusicCatalog).await.expect("launch");
        let albums = cluster.depot(ALBUMS);
        let before = album(
            "Post Malone",
            "F-1 Trillion",
            &["Have The Heart", "Wrong Ones"],
        );
        albums.append(&before).await.expect("append");
        cluster
            .wait_for_processed(MODULE, "catalog", 1)
            .await
            .expect("processed");
        let stored = v1::CATALOG.key("Post Malone").key("F-1 Trillion");
        let found = cluster.pstate(v1::CATALOG).select(stored.songs()).await;
        assert_eq!(found.expect("select"), Some(before.songs));

        cluster.update(MusicCatalog).await.expect("update");
        let expected = [(0, song("Have The Heart", 0)), (1, song("Wrong Ones", 0))];
        assert_eq!(
            songs(&cluster, "Post Malone", "F-1 Trillion").await,
            expected
        );

        let after = album("Summer Salt", "Driving to Hawaii", &["Sweet To Me"]);
        albums.append(&after).await.expect("append");
        let plays = cluster.depot(PLAYS);
        plays
            .append(&play("Post Malone", "F-1 Trillion", 1))
            .await
            .expect("append");
        cluster
            .wait_for_processed(MODULE, "catalog", 3)
            .await
            .expect("processed");
        let expected = [(0, song("Sweet To Me", 0))];
        assert_eq!(
            songs(&cluster, "Summer Salt", "Driving to Hawaii").await,
            expected
        );
        let expected = [(0, song("Have The Heart", 0)), (1, song("Wrong Ones", 1))];
        assert_eq!(
            songs(&cluster, "Post Malone", "F-1 Trillion").await,
            expected
        );
    }
}

#[test]
fn no_power_cut_makes_a_song_forget_its_plays() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed).tasks(1 << (seed % 4));
        simulation.run(v1::MusicCatalog, |cluster| async move {
            cluster.calm().await;
            let long = Duration::from_secs(3600);
            let new = album("a", "b", &["c", "d", "e"]);
            cluster.depot(ALBUMS).append(&new).await.expect("append");
            cluster
                .wait_for_processed(MODULE, "catalog", 1, long)
                .await
                .expect("processed");
            cluster.update(MusicCatalog).await.expect("update");
            for round in 1..=3 {
                let played = cluster.depot(PLAYS).append(&play("a", "b", 1)).await;
                played.expect("append");
                let count = 1 + round;
                let done = cluster
                    .wait_for_processed(MODULE, "catalog", count, long)
                    .await;
                done.expect("processed");
                let nap = cluster.random_u64() % 50;
                cluster.sleep(Duration::from_millis(nap)).await;
                cluster.power_cut().await;
                cluster.calm().await;
                let expected = [(0, song("c", 0)), (1, song("d", round)), (2, song("e", 0))];
                assert_eq!(songs(&cluster, "a", "b").await, expected, "seed {seed}");
            }
        });
    }
}
