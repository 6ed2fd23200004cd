//! Updates survive the way, and damaged ones are refused or harmless.

use super::*;

fn updates() -> Vec<Update> {
    let changes = vec![
        (b"a".to_vec(), Some(b"one".to_vec())),
        (Vec::new(), None),
        (b"b".to_vec(), Some(Vec::new())),
    ];
    let whole = |why| Update::Whole {
        why,
        checksum: 7,
        answer: b"rows".to_vec(),
    };
    vec![
        whole(Whole::Resync),
        whole(Whole::Evaluated),
        Update::Changes {
            checksum: u64::MAX,
            changes,
        },
        Update::Changes {
            checksum: 0,
            changes: Vec::new(),
        },
    ]
}

#[test]
fn updates_survive_the_way() {
    for update in updates() {
        let back = Update::from_bytes(&update.to_bytes());
        assert_eq!(back, Ok(update));
    }
}

/// The bytes never change without a new version.
#[test]
fn the_layout_is_fixed() {
    let update = Update::Changes {
        checksum: 0x0102,
        changes: vec![(b"k".to_vec(), Some(b"v".to_vec()))],
    };
    let expected = [
        1, 2, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, b'k', 1, 0, 0, 0, b'v',
    ];
    assert_eq!(update.to_bytes(), expected);
}

#[test]
fn damaged_updates_never_panic_and_cut_ones_are_refused() {
    for (at, update) in updates().into_iter().enumerate() {
        let good = update.to_bytes();
        for seed in 0..2000_u64 {
            let random = rama_core::ids::mix(seed << 8 | at as u64);
            let mut bytes = good.clone();
            let place = (random >> 8) as usize % bytes.len();
            bytes[place] ^= 1 << (random >> 60 & 7);
            let _ = Update::from_bytes(&bytes);
        }
        for len in 0..good.len() {
            let cut = Update::from_bytes(&good[..len]);
            let whole = matches!(update, Update::Whole { .. }) && len >= 10;
            assert_eq!(cut.is_err(), !whole, "{update:?} cut to {len}");
        }
    }
}
