//! A subindexed structure has any size: read a part. None is a value to carry (P-15) or to move (P-16).

use rama::prelude::*;

const FRIENDS: PState<Map<u64, Set<u64>>> = PState::named("$$friends");
const IDS: Depot<u64> = Depot::named("*ids");

fn define(m: &mut Setup) {
    let mut s = m.stream("s");
    let friends = s.pstate(FRIENDS);
    s.source(IDS).each(move |task, id| {
        let all = friends.key(&id).get(task);
        drop(all);
    });
}

fn main() {}
