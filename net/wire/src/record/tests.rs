//! Records: what goes in comes out, and nothing else is believed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cause, Record};

fn check<T: Record + PartialEq>(value: T) {
    let mut bytes = b"already here".to_vec();
    let start = bytes.len();
    value.encode(&mut bytes);
    assert_eq!(T::decode(&bytes[start..]).expect("decodes"), value);
    let json = value.to_json().expect("has a JSON form");
    assert_eq!(T::from_json(&json).expect("reads its own JSON"), value);
}

/// Z-1: the types that need no attribute.
#[test]
fn values_of_every_standard_type_come_back() {
    check(0u64);
    check(-7i8);
    check(1.5f64);
    check(true);
    check('ß');
    check(String::from(
        "a string longer than what fits inline, with ünïcode",
    ));
    check(String::new());
    check(());
    check(Some(3u32));
    check(None::<String>);
    check(vec![vec![1u16], vec![], vec![2, 3]]);
    check(BTreeMap::from([
        (String::from("a"), vec![1u64]),
        (String::from("b"), vec![]),
    ]));
    check(BTreeSet::from([3i32, 1, 2]));
    check((1u8, String::from("two"), Some(3i64)));
    check([1u8; 32]);
    check(uuid::Uuid::from_u128(42));
    check(Box::new(5u8));
}

/// The short cut of scalars writes what rkyv writes.
#[test]
fn scalars_are_archives() {
    let archive = rkyv::to_bytes::<Cause>(&0x0102_0304_0506_0708u64).expect("encodes");
    assert_eq!(archive.as_slice(), 0x0102_0304_0506_0708u64.to_bytes());
    let archive = rkyv::to_bytes::<Cause>(&-1.25f32).expect("encodes");
    assert_eq!(archive.as_slice(), (-1.25f32).to_bytes());
}

/// What fingerprints, deduplication and the simulator's traces rest on.
#[test]
fn equal_collections_have_equal_bytes() {
    let pairs: Vec<(String, u64)> = (0..200).map(|n| (format!("a key of {n}"), n)).collect();
    let forward: BTreeMap<_, _> = pairs.iter().cloned().collect();
    let mut backward = BTreeMap::new();
    for (key, value) in pairs.into_iter().rev() {
        backward.insert(format!("{key} to go"), value);
        backward.insert(key, value);
    }
    backward.retain(|key, _| !key.ends_with("to go"));
    assert_eq!(forward.to_bytes(), backward.to_bytes());
}

/// Corrupt or foreign bytes are an error, never a panic: every truncation, and every single flipped
/// bit, of a value with pointers in it.
#[test]
fn damaged_bytes_are_refused_or_decode_to_something() {
    let value = BTreeMap::from([(String::from("a longer key than inline"), vec![1u64, 2, 3])]);
    let bytes = value.to_bytes();
    for len in 0..bytes.len() {
        let _ = BTreeMap::<String, Vec<u64>>::decode(&bytes[..len]);
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = BTreeMap::<String, Vec<u64>>::decode(&damaged);
    }
    assert!(u64::decode(&[0; 7]).is_err());
    assert!(<()>::decode(&[0]).is_err());
}

#[test]
fn layouts_that_differ_have_different_fingerprints() {
    let prints = [
        u64::fingerprint(),
        i64::fingerprint(),
        Option::<u64>::fingerprint(),
        Vec::<u64>::fingerprint(),
        <(u64, u64)>::fingerprint(),
        <(u64, i64)>::fingerprint(),
        <[u64; 2]>::fingerprint(),
        BTreeMap::<u64, u64>::fingerprint(),
        BTreeSet::<u64>::fingerprint(),
    ];
    let distinct: BTreeSet<u64> = prints.into_iter().collect();
    assert_eq!(distinct.len(), prints.len());
}

#[test]
fn wrong_json_says_what_was_expected() {
    let error = u64::from_json(&serde_json::json!("seven")).expect_err("a string is no number");
    assert!(
        error.to_string().contains("could not read JSON as u64"),
        "{error}"
    );
}
