//! The key type stands in the schema.

use rama::prelude::*;

const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
const IDS: Depot<u64> = Depot::named("*ids");

fn define(m: &mut Setup) {
    let mut s = m.stream("s");
    let counts = s.pstate(COUNTS);
    s.source(IDS).each(move |task, id| counts.key(&id).set(task, 1));
}

fn main() {}
