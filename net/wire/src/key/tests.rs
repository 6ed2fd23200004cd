//! Keys keep their order, end where they end, and come back.

use std::cmp::Ordering;
use std::fmt::Debug;

use uuid::Uuid;

use super::{Key, KeyShape, successor};

/// splitmix64, so that a printed seed reproduces a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Small numbers, extreme numbers and everything between are equally likely.
    fn number(&mut self) -> u64 {
        let shift = self.next() % 64;
        let number = self.next() >> shift;
        if self.next().is_multiple_of(2) {
            number
        } else {
            !number
        }
    }

    /// Bytes from a small alphabet around the escapes, so that ties and escapes are common.
    fn bytes(&mut self) -> Vec<u8> {
        let len = self.next() % 6;
        (0..len)
            .map(|_| [0, 1, 2, b'a', b'b', 0xFF][(self.next() % 6) as usize])
            .collect()
    }

    fn text(&mut self) -> String {
        let len = self.next() % 6;
        (0..len)
            .map(|_| ['\0', '\u{1}', 'a', 'b', 'ß', '\u{10FFFF}'][(self.next() % 6) as usize])
            .collect()
    }
}

fn check<K: Key>(seed: u64, make: impl Fn(&mut Random) -> K, order: impl Fn(&K, &K) -> Ordering) {
    let mut random = Random(seed);
    let shape = K::key_desc().shape();
    for _ in 0..4000 {
        let (a, b) = (make(&mut random), make(&mut random));
        let (a_bytes, b_bytes) = (a.key_bytes(), b.key_bytes());
        let context = format!("seed {seed}: {a:?} and {b:?}");
        assert_eq!(a_bytes.cmp(&b_bytes), order(&a, &b), "{context}");
        assert!(!a_bytes.is_empty(), "{context}");
        if a_bytes != b_bytes {
            assert!(
                !b_bytes.starts_with(&a_bytes),
                "one is a prefix of the other: {context}"
            );
        }
        round_trip(&a, &a_bytes, &shape, &order, &context);
    }
}

fn round_trip<K: Key>(
    key: &K,
    bytes: &[u8],
    shape: &KeyShape,
    order: &impl Fn(&K, &K) -> Ordering,
    context: &str,
) {
    let mut followed = bytes.to_vec();
    followed.extend_from_slice(b"\x00\x01 what follows");
    assert_eq!(shape.measure(&followed), Some(bytes.len()), "{context}");
    let mut input = followed.as_slice();
    let back = K::decode_key(&mut input).expect(context);
    assert_eq!(order(&back, key), Ordering::Equal, "{context}");
    assert_eq!(input.len(), followed.len() - bytes.len(), "{context}");
    for len in 0..bytes.len() {
        assert!(
            K::from_key_bytes(&bytes[..len]).is_err(),
            "{len} bytes decode: {context}"
        );
        assert_eq!(shape.measure(&bytes[..len]), None, "{context}");
    }
    let from_json = K::key_from_json(&key.key_to_json()).expect(context);
    assert_eq!(from_json.key_bytes(), bytes, "JSON: {context}");
}

fn natural<K: Ord + Debug>(a: &K, b: &K) -> Ordering {
    a.cmp(b)
}

/// P-12, Z-4: subindexed maps and sets are sorted like their keys, for every key type.
#[test]
fn encodings_sort_like_values_and_come_back() {
    let seed = 0x5EED_0001;
    check(seed, |r| r.number() as u8, natural);
    check(seed, |r| r.number() as u16, natural);
    check(seed, |r| r.number() as u32, natural);
    check(seed, Random::number, natural);
    check(seed, |r| u128::from(r.number()) << (r.next() % 65), natural);
    check(seed, |r| r.number() as i8, natural);
    check(seed, |r| r.number() as i16, natural);
    check(seed, |r| r.number() as i32, natural);
    check(seed, |r| r.number() as i64, natural);
    check(
        seed,
        |r| i128::from(r.number() as i64) << (r.next() % 64),
        natural,
    );
    check(seed, |r| r.next().is_multiple_of(2), natural);
    check(seed, |_| (), natural);
    check(
        seed,
        |r| char::from_u32((r.number() % 0xD800) as u32).expect("below"),
        natural,
    );
    check(
        seed,
        |r| Uuid::from_u128(u128::from(r.number()) << 64),
        natural,
    );
    check(seed, Random::text, natural);
    check(seed, Random::bytes, natural);
    check(
        seed,
        |r| Some(r.text()).filter(|text| text.len() > 2),
        natural,
    );
    check(seed, |r| (r.text(), r.number() as i16), natural);
    check(
        seed,
        |r| (r.bytes(), r.text(), Some(r.number() as u8)),
        natural,
    );
    check(
        seed,
        |r| {
            (
                (r.text(), r.text()),
                r.text(),
                r.next() % 2 == 0,
                r.number(),
            )
        },
        natural,
    );
}

/// Floats follow IEEE total order; values that are not NaN also their usual one.
#[test]
fn floats_sort_in_total_order() {
    let seed = 0x5EED_0002;
    let finite = |r: &mut Random| f64::from_bits(r.number());
    let mut random = Random(seed);
    for _ in 0..20_000 {
        let (a, b) = (finite(&mut random), finite(&mut random));
        assert_eq!(
            a.key_bytes().cmp(&b.key_bytes()),
            a.total_cmp(&b),
            "{a} {b} seed {seed}"
        );
        assert_eq!(
            f64::from_key_bytes(&a.key_bytes())
                .expect("decodes")
                .to_bits(),
            a.to_bits()
        );
        let (a, b) = (a as f32, b as f32);
        assert_eq!(
            a.key_bytes().cmp(&b.key_bytes()),
            a.total_cmp(&b),
            "{a} {b} seed {seed}"
        );
    }
    check(seed, |r| (r.number() as i32) as f64 / 8.0, f64::total_cmp);
}

/// The bytes on disk: this table changes only with a format version.
#[test]
fn encodings_are_pinned() {
    assert_eq!(1u64.key_bytes(), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!((-1i32).key_bytes(), [0x7F, 0xFF, 0xFF, 0xFF]);
    assert_eq!(1i8.key_bytes(), [0x81]);
    assert_eq!(1.0f64.key_bytes(), [0xBF, 0xF0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        (-1.0f64).key_bytes(),
        [0x40, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
    );
    assert_eq!(
        String::from("a\0b\u{1}").key_bytes(),
        [b'a', 1, 1, b'b', 1, 2, 0]
    );
    assert_eq!(vec![0u8, 255].key_bytes(), [1, 1, 255, 0]);
    assert_eq!(None::<u8>.key_bytes(), [0]);
    assert_eq!(Some(7u8).key_bytes(), [1, 7]);
    assert_eq!((String::from("x"), 2u16).key_bytes(), [b'x', 0, 0, 2]);
    assert_eq!('A'.key_bytes(), [0, 0, 0, 65]);
    assert_eq!(true.key_bytes(), [1]);
    assert_eq!(().key_bytes(), [0]);
}

#[test]
fn shapes_come_back_and_absurd_ones_are_refused() {
    let shape = <(String, Option<(u64, bool)>, Uuid)>::key_desc().shape();
    let mut bytes = Vec::new();
    shape.encode(&mut bytes);
    assert_eq!(
        KeyShape::decode(&mut bytes.as_slice()).expect("decodes"),
        shape
    );
    assert!(KeyShape::decode(&mut [2u8; 1000].as_slice()).is_err());
    assert!(KeyShape::decode(&mut [3u8, 255].as_slice()).is_err());
    assert!(KeyShape::decode(&mut [9u8].as_slice()).is_err());
    assert!(KeyShape::decode(&mut [].as_slice()).is_err());
}

#[test]
fn a_successor_bounds_everything_that_starts_the_same() {
    assert_eq!(successor(b"a"), Some(b"b".to_vec()));
    assert_eq!(successor(&[1, 0xFF, 0xFF]), Some(vec![2]));
    assert_eq!(successor(&[0xFF, 0xFF]), None);
    assert_eq!(successor(&[]), None);
}

#[test]
fn wrong_json_names_the_expected_key() {
    let error = <(u64, String)>::key_from_json(&serde_json::json!("x")).expect_err("no tuple");
    assert_eq!(
        error.to_string(),
        r#"could not read "x" as a key of type (u64, String)"#
    );
    assert!(u8::key_from_json(&serde_json::json!(300)).is_err());
    assert_eq!(u64::key_from_json(&serde_json::json!("#__L7")), Ok(7));
}
