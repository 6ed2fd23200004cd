//! Pins the hash for ever.

use super::{hash_of, task_of};

/// a key's home never changes, whatever the platform or version.
#[test]
fn homes_are_pinned() {
    let homes: Vec<u32> = [
        &b""[..],
        b"a",
        b"alice\x00",
        b"\x00\x00\x00\x00\x00\x00\x00\x2a",
    ]
    .iter()
    .map(|key| task_of(key, 64))
    .collect();
    assert_eq!(homes, [2, 31, 44, 44]);
    assert_eq!(
        hash_of(b""),
        0x2D06_8005_38D3_94C2,
        "the published XXH3 of nothing"
    );
}

/// A power-of-two task count takes the low bits of the same hash.
#[test]
fn fewer_tasks_take_fewer_bits() {
    for n in 0u32..1000 {
        let key = n.to_be_bytes();
        assert_eq!(task_of(&key, 8), task_of(&key, 64) % 8);
    }
}
