//! The value type stands in the schema (P-8).

use rama::prelude::*;

pub const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
pub const LINES: Depot<String> = Depot::named("*lines");

fn define(m: &mut Setup) {
    let mut s = m.stream("s");
    let counts = s.pstate(COUNTS);
    s.source(LINES).each(move |task, line| counts.key(&line).set(task, "one"));
}

fn main() {}
