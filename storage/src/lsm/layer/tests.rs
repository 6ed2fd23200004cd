//! Layers of one space: point access, ordered access and range deletes agree.
//! Relies on the layer alone, without a store below.

use super::*;

#[test]
fn thousands_of_keys_stay_sorted_and_found() {
    for sorted_first in [false, true] {
        let mut space = Space::default();
        if sorted_first {
            space.sort();
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

#[test]
fn sorting_piece_by_piece_equals_sorting_at_once() {
    let mut space = Space::default();
    for number in 0..3000u32 {
        space.put(&number.wrapping_mul(2_654_435_761).to_be_bytes(), b"");
    }
    let whole = space.clone();
    let mut unfinished = space.sort_step(None, 100);
    while unfinished.is_some() {
        unfinished = space.sort_step(unfinished, 100);
    }
    assert!(space.is_sorted());
    let (mut a, mut b) = (space.cursor(&[], None), whole.cursor(&[], None));
    while let Some(item) = a.next() {
        assert_eq!(Some(item), b.next());
    }
    assert_eq!(b.next(), None);
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
