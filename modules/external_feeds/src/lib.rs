//! Records from outside: lines of files that grow, and events of a server that is polled.
//!
//! Relies on external depots for taking each record once. What must stay true: a word is counted
//! once for every time it was written or published, whatever was down in between.

mod file_tail;
mod http_poll;

use std::path::PathBuf;

use rama::prelude::*;

pub use file_tail::FileTail;
pub use http_poll::HttpPoll;

/// Lines of the files, one partition each.
pub const LINES: Depot<String> = Depot::named("*lines");
/// Events of the server.
pub const EVENTS: Depot<String> = Depot::named("*events");
/// Words of lines and events, and how often they came.
pub const WORDS: PState<Map<String, u64>> = PState::named("$$words");

/// The module.
pub struct Feeds {
    /// The files whose lines are read.
    pub files: Vec<PathBuf>,
    /// Where the events are, see [`HttpPoll`].
    pub url: String,
}

impl Module for Feeds {
    fn define(&self, m: &mut Setup) {
        // Records go as soon as they are counted: the files and the server keep them.
        let tail = FileTail::new(self.files.clone());
        let lines = m.external_depot(LINES, Start::Beginning, tail);
        let _ = lines.option("depot.max.entries.per.partition", 1);
        let poll = HttpPoll::new(&self.url);
        let events = m.external_depot(EVENTS, Start::Beginning, poll);
        let _ = events.option("depot.max.entries.per.partition", 1);

        let mut mb = m.microbatch("words");
        let words = mb.pstate(WORDS);
        for depot in [LINES, EVENTS] {
            let options = SourceOptions::new().start_from_beginning();
            mb.source_with(depot, options)
                .flat_map(|_, text| {
                    let words = text.split_whitespace().map(str::to_owned);
                    words.collect::<Vec<String>>()
                })
                .hash_partition_by(|word| word)
                .each(move |task, word| words.key(&word).update(task, |n| n.unwrap_or(0) + 1));
        }
    }
}
