//! The bytes of appends that wait for a decision.

use super::*;

fn records(all: &[&[u8]]) -> Records {
    let mut records = Records::default();
    for record in all {
        records.push_with(|bytes| bytes.extend_from_slice(record));
    }
    records
}

#[test]
fn appends_lie_as_the_head_of_the_file_says() {
    let all = [
        (LogId(3), records(&[b"ab", b"", b"c"])),
        (LogId(258), records(&[b"d"])),
    ];
    let bytes = encode(all.iter().map(|(log, records)| (*log, records)));
    let expected: &[u8] = &[
        3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c', //
        2, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'd',
    ];
    assert_eq!(bytes, expected);
    let found = decode(&bytes).unwrap();
    assert_eq!(found.len(), 2);
    for ((log, records), (same, others)) in found.iter().zip(&all) {
        assert_eq!((log, records.slices()), (same, others.slices()));
    }
}

#[test]
fn bytes_that_are_no_appends_are_refused() {
    let bytes = encode([(LogId(3), &records(&[b"ab", b"", b"c"]))].into_iter());
    for end in 1..bytes.len() {
        assert_eq!(decode(&bytes[..end]).err(), Some(ENDS), "{end}");
    }
    let mut disordered = bytes.clone();
    disordered[12] = 1;
    assert!(decode(&disordered).is_err());
    let mut endless = bytes;
    endless[4..8].fill(0xff);
    assert_eq!(decode(&endless).err(), Some(ENDS));
}
