//! A struct with fixed keys is not read as one value: its structures are, one by one.

use rama::prelude::*;

#[derive(Schema)]
struct Artist {
    name: String,
    songs: List<String>,
}

const ARTISTS: PState<Map<String, String>> = PState::named("$$artists");

struct Music;

impl Module for Music {
    fn define(&self, m: &mut Setup) {
        let mut mb = m.microbatch("music");
        mb.pstate(ARTISTS);
        let at = ARTISTS.each_value();
        mb.migrate_from_subindexed::<Artist, String>("one value", at, |_| String::new());
    }
}

fn main() {}
