//! Word count, twice: as it streams, and exactly once.
//!
//! Relies on nothing but the facade. A word is a maximal run of alphabetic characters, lower-cased.
//! `$$counts` is written by a stream topology, so an acknowledged append can be read back at once,
//! and a retry may count twice; `$$exact_counts` is written by a microbatch topology, so its counts
//! are exact whatever crashes.

use rama::prelude::*;

/// Lines of text.
pub const LINES: Depot<String> = Depot::named("*lines");
/// Word to count, at least once.
pub const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
/// Word to count, exactly once.
pub const EXACT_COUNTS: PState<Map<String, u64>> = PState::named("$$exact_counts");

/// The words of a line, lower-cased, in order.
pub fn words(line: String) -> Vec<String> {
    line.split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The module.
pub struct WordCount;

impl Module for WordCount {
    fn define(&self, m: &mut Setup) {
        m.depot(LINES, Partition::random());

        let mut s = m.stream("count");
        let counts = s.pstate(COUNTS);
        s.source(LINES)
            .flat_map(|_, line| words(line))
            .hash_partition(|word| word)
            .each(move |task, word| counts.key(&word).update(task, |n| n.unwrap_or(0) + 1));

        let mut mb = m.microbatch("exact_count");
        let exact = mb.pstate(EXACT_COUNTS);
        mb.source(LINES)
            .flat_map(|_, line| words(line))
            .hash_partition(|word| word)
            .each(move |task, word| exact.key(&word).update(task, |n| n.unwrap_or(0) + 1));
    }
}
