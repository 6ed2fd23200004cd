//! A module that lives on another one: it consumes the lines of `WordCount` and asks for its counts.
//!
//! Relies on the constants and types of `word_count`, not on its code: that may change while this
//! runs, and the two have tasks and workers of their own. Each line is taken once, whichever of the
//! two crashes.

use rama::prelude::*;
use word_count::{EXACT_COUNTS, LINES, words};

/// Number of words to how many lines have so many.
pub const LENGTHS: PState<Map<u64, u64>> = PState::named("$$lengths");
/// Word to the greatest count that `WordCount` had for it when it was said.
pub const HEARD: PState<Map<String, u64>> = PState::named("$$heard");

/// The module.
pub struct WordTrends;

impl Module for WordTrends {
    fn define(&self, m: &mut Setup) {
        let other = m.mirror("WordCount");
        let (lines, counts) = (other.depot(LINES), other.pstate(EXACT_COUNTS));

        let mut mb = m.microbatch("trends");
        let (lengths, heard) = (mb.pstate(LENGTHS), mb.pstate(HEARD));
        let (sizes, said) = mb
            .source_with(lines, SourceOptions::new().start_from_beginning())
            .map(|_, line| words(line))
            .fork();
        sizes
            .map(|_, words| words.len() as u64)
            .hash_partition(|length| length)
            .each(move |task, length| lengths.key(&length).update(task, |n| n.unwrap_or(0) + 1));
        said.flat_map(|_, words| words)
            .select(counts, |word| EXACT_COUNTS.key(word))
            .hash_partition_by(|(word, _)| word)
            .each(move |task, (word, count)| {
                let count = count.unwrap_or(0);
                heard
                    .key(&word)
                    .update(task, |greatest| greatest.unwrap_or(0).max(count));
            });
    }
}
