//! Albums by artist, in two versions of one module (spec §16.2, P-58).
//!
//! Version 1 ([`v1`]) keeps the titles of an album's songs as one value. Version 2, this crate's own,
//! knows how often a song was played, and reads and writes each on its own: the same PState with
//! another type, and a migration that makes the one of the other. Relies on nothing but `rama`.

pub mod v1;

use rama::prelude::*;

pub use v1::{ALBUMS, NewAlbum};

/// A song is played: artist, album, and its place on the album.
pub const PLAYS: Depot<Play> = Depot::named("*plays");
/// Albums by artist and title.
pub const CATALOG: PState<Map<String, Map<String, Album>>> = PState::named("$$albums");

/// A song as version 2 knows it.
#[rama::record]
pub struct Song {
    /// What it is called.
    pub title: String,
    /// How often it was played since it is counted.
    pub plays: u64,
}

/// Somebody listens.
#[rama::record]
pub struct Play {
    /// Whose album it is on.
    pub artist: String,
    /// Title of the album.
    pub album: String,
    /// Place on the album, from 0.
    pub track: u64,
}

/// What is kept of an album: its fields are read and written apart.
#[derive(Schema)]
pub struct Album {
    /// Its title.
    pub title: String,
    /// Its songs, in their order.
    pub songs: List<Song>,
}

/// Version 2.
pub struct MusicCatalog;

impl Module for MusicCatalog {
    fn define(&self, m: &mut Setup) {
        m.depot_by(ALBUMS, |album| &album.artist);
        m.depot_by(PLAYS, |play| &play.artist);
        let mut mb = m.microbatch("catalog");
        let albums = mb.pstate(CATALOG);
        let songs = CATALOG.each_value().each_value().songs();
        mb.migrate_to_subindexed("songs are records", songs, |old: Vec<String>| {
            Vec::from_iter(old.into_iter().map(new_song))
        });
        mb.source(ALBUMS).each(move |task, new| {
            let album = albums.key(&new.artist).key(&new.title);
            album.title().set(task, new.title);
            album
                .songs()
                .replace(task, new.songs.into_iter().map(new_song));
        });
        mb.source(PLAYS).each(move |task, play| {
            let songs = albums.key(&play.artist).key(&play.album).songs();
            let song = songs.at(play.track);
            if let Some(Song { title, plays }) = song.get(task) {
                let plays = plays + 1;
                song.set(task, Song { title, plays });
            }
        });
    }
}

fn new_song(title: String) -> Song {
    Song { title, plays: 0 }
}
