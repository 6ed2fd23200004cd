//! Version 1: songs are titles.
//!
//! Relies on nothing but `rama`. Kept beside version 2 for the tests; a real module's old code is in
//! its history, and only the types that a migration takes stay.

use rama::prelude::*;

/// New albums.
pub const ALBUMS: Depot<NewAlbum> = Depot::named("*albums");
/// Albums by artist and title.
pub const CATALOG: PState<Map<String, Map<String, Album>>> = PState::named("$$albums");

/// An album comes out.
#[rama::record]
pub struct NewAlbum {
    /// Whose it is.
    pub artist: String,
    /// Its title.
    pub title: String,
    /// Titles of its songs, in their order.
    pub songs: Vec<String>,
}

/// What is kept of an album.
#[derive(Schema)]
pub struct Album {
    /// Its title.
    pub title: String,
    /// Titles of its songs, in their order.
    pub songs: Vec<String>,
}

/// Version 1.
pub struct MusicCatalog;

impl Module for MusicCatalog {
    fn define(&self, m: &mut Setup) {
        m.depot_by(ALBUMS, |album| &album.artist);
        let mut mb = m.microbatch("catalog");
        let albums = mb.pstate(CATALOG);
        mb.source(ALBUMS).each(move |task, new| {
            let album = albums.key(&new.artist).key(&new.title);
            album.title().set(task, new.title);
            album.songs().set(task, new.songs);
        });
    }
}
