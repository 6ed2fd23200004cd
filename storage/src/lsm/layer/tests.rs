//! Layers of one space: point access, ordered access and range deletes agree.
//! Relies on the layer alone, without a store below.

use super::*;
use crate::lsm::Order;

#[test]
fn thousands_of_keys_stay_sorted_and_found() {
    for sorted_first in [false, true] {
        let mut space = Space::default();
        if sorted_first {
            space.expect_scans();
        }
        let count = 5000u32;
        for number in 0..count {
            let key = number.wrapping_mul(2_654_435_761).to_be_bytes();
            space.put(&key, &number.to_le_bytes());
        }
        for number in 0..count {
            let key = number.wrapping_mul(2_654_435_761).to_be_bytes();
            assert_eq!(space.get(&key), Found::Value(&number.to_le_bytes()));
        }
        let mut cursor = space.cursor(&[], None);
        let keys: Vec<&[u8]> = std::iter::from_fn(|| cursor.next())
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys.len(), count as usize);
        assert!(keys.is_sorted());
    }
}

/// Puts, deletes of ranges and scans in any order, against a sorted map.
#[test]
fn a_space_is_in_order_whenever_it_is_read() {
    for seed in 1..40u64 {
        let mut random = seed;
        let mut below = |bound: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % bound
        };
        let (mut space, mut model) = (Space::default(), std::collections::BTreeMap::new());
        let scans = [0, 500, 5][seed as usize % 3];
        for round in 0..4000u64 {
            let key = |number: u64| [b"same pre".as_slice(), &number.to_be_bytes()[6..]].concat();
            let number = below(3000);
            space.put(&key(number), &round.to_le_bytes());
            model.insert(key(number), round);
            if below(400) == 0 {
                let (lo, hi) = (key(number), key(number + below(300)));
                space.delete_range(&lo, Some(&hi));
                model.retain(|key, _| *key < lo || *key >= hi);
            }
            if round == 3999 || scans > 0 && below(scans) == 0 {
                let (lo, hi) = (key(below(3000)), key(below(3000)));
                let hi = hi.max(lo.clone());
                for order in [Order::Ascending, Order::Descending] {
                    let mut cursor = space.cursor(&lo, Some(&hi));
                    let found = std::iter::from_fn(|| cursor.step(order));
                    let found: Vec<_> = found.map(|(key, _)| key.to_vec()).collect();
                    let mut want: Vec<_> = model.range(lo.clone()..hi.clone()).collect();
                    if order == Order::Descending {
                        want.reverse();
                    }
                    let want: Vec<_> = want.into_iter().map(|(key, _)| key.clone()).collect();
                    assert_eq!(found, want, "seed {seed}, round {round}");
                }
            }
        }
    }
}

#[test]
fn memory_in_use_is_counted_down_again() {
    let mut space = Space::default();
    space.put(b"k", &[1; 10_000]);
    let before = space.bytes();
    assert!(before > 10_000);
    space.put(b"k", b"");
    assert!(space.bytes() < 10_000);
    space.put(b"k", &[1; 10_000]);
    space.delete_range(b"", None);
    assert!(space.bytes() < 10_000);
}
