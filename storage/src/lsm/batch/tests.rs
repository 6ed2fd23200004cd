//! Write batches: what is put in comes out, in order, and damage is refused.
//! Relies on the public form of the batch alone.

use super::*;

fn sample() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(SpaceId(7), b"key", &[9; 200]);
    batch.delete(SpaceId(7), b"gone");
    batch.delete_range(SpaceId(0x0102), b"a", b"b");
    batch.clear(SpaceId(3));
    batch
}

#[test]
fn a_batch_iterates_its_writes_in_order() {
    let batch = sample();
    let ops: Vec<Op> = batch.ops().collect();
    assert_eq!(
        ops,
        vec![
            Op::Put {
                space: SpaceId(7),
                key: b"key",
                value: &[9; 200]
            },
            Op::Delete {
                space: SpaceId(7),
                key: b"gone"
            },
            Op::DeleteRange {
                space: SpaceId(0x0102),
                lo: b"a",
                hi: b"b"
            },
            Op::Clear { space: SpaceId(3) },
        ]
    );
    assert_eq!(WriteBatch::from_bytes(batch.as_bytes()), Ok(batch));
}

#[test]
fn the_encoding_of_a_batch_never_changes() {
    let mut batch = WriteBatch::new();
    batch.put(SpaceId(0x0102), b"k", b"vw");
    batch.delete(SpaceId(1), b"d");
    batch.delete_range(SpaceId(1), b"", b"z");
    batch.clear(SpaceId(9));
    let golden = b"\x01\x02\x01\x01\x02kvw\x02\x01\x00\x01d\x03\x01\x00\x00\x01z\x04\x09\x00";
    assert_eq!(batch.as_bytes(), golden);
}

#[test]
fn every_cut_and_every_wrong_kind_is_refused() {
    let bytes = sample().into_bytes();
    let starts = [
        0,
        3 + 1 + 2 + 3 + 200,
        3 + 1 + 2 + 3 + 200 + 8,
        bytes.len() - 3,
        bytes.len(),
    ];
    for cut in 0..bytes.len() {
        let whole = starts.contains(&cut);
        assert_eq!(Batch::parse(&bytes[..cut]).is_ok(), whole, "cut at {cut}");
    }
    assert!(Batch::parse(b"\x05\0\0").is_err());
    assert!(Batch::parse(b"\x02\0\0\xff\xff\xff\xff\xff\x01").is_err());
}

#[test]
fn an_empty_range_deletes_nothing() {
    let mut batch = WriteBatch::new();
    batch.delete_range(SpaceId(1), b"b", b"a");
    batch.delete_range(SpaceId(1), b"a", b"a");
    assert!(batch.is_empty());
}
