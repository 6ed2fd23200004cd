//! A closure that borrows a handle instead of taking it.

use rama::prelude::*;

pub const LINES: Depot<String> = Depot::named("*lines");
pub const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");

pub struct Count;

impl Module for Count {
    fn define(&self, m: &mut Setup) {
        let mut s = m.stream("count");
        let counts = s.pstate(COUNTS);
        s.source(LINES)
            .hash_partition(|line| line)
            .each(|task, line| counts.key(&line).update(task, |n| n.unwrap_or(0) + 1));
    }
}

fn main() {}
