//! Pairs of random sides, in memory and on disk, against a join of two loops.

use crate::dataflow::sides::{Sides, let_go};
use crate::gather::{Left, RELEASED_ROWS};
use crate::path::tests::random::Random;
use crate::rows::Waiting;
use crate::rows::tests::move_out;

type Named = (String, Option<u32>, Option<u32>);

/// All that comes out, event by event.
fn released(waiting: &mut Waiting<Sides<String, u32, u32>>) -> Vec<Named> {
    let mut found = Vec::new();
    loop {
        let before = found.len();
        let left = let_go(waiting, &mut |key, left, right| {
            found.push((key.clone(), left.copied(), right.copied()));
        });
        assert!(found.len() - before <= RELEASED_ROWS, "too many at once");
        if left == Left::Nothing {
            return found;
        }
    }
}

/// Every pair once; what has no partner once, without one.
fn expected(left: &[(String, u32)], right: &[(String, u32)]) -> Vec<Named> {
    let mut keys: Vec<_> = left.iter().chain(right).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let mut all = Vec::new();
    for key in keys {
        let of = |side: &[(String, u32)]| -> Vec<Option<u32>> {
            let values = side.iter().filter(|(other, _)| other == key);
            let values: Vec<_> = values.map(|(_, value)| Some(*value)).collect();
            if values.is_empty() {
                vec![None]
            } else {
                values
            }
        };
        for left in of(left) {
            let right = of(right).into_iter();
            all.extend(right.map(|right| (key.clone(), left, right)));
        }
    }
    all
}

/// F-23, F-25: whatever waits where, and however often one key occurs.
#[test]
fn pairs_are_those_of_two_loops() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let mut waiting = Waiting::<Sides<String, u32, u32>>::default();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let (keys, spills) = (1 + random.below(6), random.below(3) > 0);
        for n in 0..random.below(60) as u32 {
            // One key is a prefix of the others, and most often there.
            let key = "k".repeat(random.below(keys).min(random.below(keys)) as usize);
            if random.below(2) == 0 {
                left.push((key.clone(), n));
                waiting.memory.keep_left(key, n);
            } else {
                right.push((key.clone(), n));
                waiting.memory.keep_right(key, n);
            }
            if spills && random.below(9) == 0 {
                move_out(&mut waiting);
            }
        }
        if waiting.is_on_disk() {
            move_out(&mut waiting);
        }
        let found = released(&mut waiting);
        assert_eq!(found, expected(&left, &right), "seed {seed}");
    }
}
