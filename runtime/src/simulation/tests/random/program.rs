//! Random programs: what a module does with its records, as data.
//!
//! What must stay true: a keyed write stands only where its row is at home; no record becomes more
//! than a bounded number of rows.

use crate::path::tests::random::Random;

/// A key and a number.
pub(super) type Row = (u64, i64);

pub(super) const KEYS: u64 = 6;

/// So many rows may come of one record, on eight tasks.
const ROWS_MAX: u64 = 300;

#[derive(Clone, Debug)]
pub(super) struct Program {
    /// A stream instead of a microbatch.
    pub(super) streams: bool,
    /// Rows are remembered in order, and changed by how many there are, at the source.
    pub(super) remembers: bool,
    pub(super) first: Part,
}

/// Steps of one event, and what follows.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) steps: Vec<Step>,
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Another key.
    Move {
        by: u64,
    },
    Scale {
        by: i64,
    },
    /// So many rows with keys from this one on.
    Spread {
        copies: u64,
    },
    /// Rows whose key is no multiple of it.
    Drop {
        of: u64,
    },
    /// Where the row is, whatever its key.
    Tally,
    Sum,
    Nested {
        of: u64,
    },
    Member,
    Greatest,
}

#[derive(Clone, Debug)]
pub(super) enum Then {
    End,
    Hop(Hop, Box<Part>),
    Branch(Box<Part>, Box<Part>),
    /// Sums at home, so many times, one key on each time.
    Loop {
        rounds: u64,
        then: Box<Part>,
    },
    /// Sums per key, by an aggregation.
    Group,
    /// A handler that sums at the homes of so many keys, and goes on.
    Handle {
        calls: u64,
        then: Box<Part>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Hop {
    Hash,
    All,
    Global,
    Shuffle,
    Direct,
}

impl Program {
    pub(super) fn random(random: &mut Random) -> Program {
        let mut rows = 1;
        Program {
            streams: random.below(3) == 0,
            remembers: random.below(2) == 0,
            first: Part::random(random, true, 4, &mut rows),
        }
    }
}

impl Part {
    /// `home`: whether rows are at the home of their key. `rows`: how many there are by now.
    fn random(random: &mut Random, mut home: bool, depth: u32, rows: &mut u64) -> Part {
        let steps = (0..random.below(4))
            .map(|_| Step::random(random, &mut home, rows))
            .collect();
        let then = Then::random(random, depth, rows);
        Part { steps, then }
    }
}

impl Step {
    fn random(random: &mut Random, home: &mut bool, rows: &mut u64) -> Step {
        let step = match random.below(if *home { 9 } else { 5 }) {
            0 => Step::Move {
                by: 1 + random.below(KEYS - 1),
            },
            1 => Step::Scale {
                by: random.below(5) as i64 - 2,
            },
            2 if *rows * 3 <= ROWS_MAX => {
                let copies = random.below(4);
                *rows *= copies.max(1);
                Step::Spread { copies }
            }
            3 => Step::Drop {
                of: 2 + random.below(3),
            },
            5 => Step::Sum,
            6 => Step::Nested {
                of: 1 + random.below(4),
            },
            7 => Step::Member,
            8 => Step::Greatest,
            _ => Step::Tally,
        };
        if matches!(step, Step::Move { .. } | Step::Spread { .. }) {
            *home = false;
        }
        step
    }
}

impl Then {
    fn random(random: &mut Random, depth: u32, rows: &mut u64) -> Then {
        if depth == 0 {
            return Then::End;
        }
        let rest = |random: &mut Random, home, rows: &mut u64| {
            Box::new(Part::random(random, home, depth - 1, rows))
        };
        match random.below(10) {
            0 => Then::End,
            1 => Then::Group,
            2 => {
                let side = rest(random, false, rows);
                Then::Branch(side, rest(random, false, rows))
            }
            3 => {
                let rounds = 1 + random.below(3);
                let then = rest(random, false, rows);
                Then::Loop { rounds, then }
            }
            4 => {
                let calls = random.below(4);
                let then = rest(random, false, rows);
                Then::Handle { calls, then }
            }
            5 if *rows * 8 <= ROWS_MAX => {
                *rows *= 8;
                Then::Hop(Hop::All, rest(random, false, rows))
            }
            6 => Then::Hop(Hop::Global, rest(random, false, rows)),
            7 => Then::Hop(Hop::Shuffle, rest(random, false, rows)),
            8 => Then::Hop(Hop::Direct, rest(random, false, rows)),
            _ => Then::Hop(Hop::Hash, rest(random, true, rows)),
        }
    }
}
