//! The footer: golden bytes, round trip, damage.

use super::*;

fn sample() -> (Segment, BTreeMap<LogKey, LogBounds>) {
    let mut segment = Segment::new(5, 0xaaaa_aaaa);
    let key = (3, LogId(7));
    segment.on_entry(Index(40), 2, 0x1111_1111);
    segment.on_append(key, 100, 3, 1_000, 568);
    segment.on_entry(Index(41), 2, 0x2222_2222);
    segment.on_append(key, 103, 1, 1_500, 800);
    segment.on_write(3, Index(41));
    let key_of_txn = (3, 1, 9);
    for (step, attempt) in [(TxnStep::Prepared, 4), (TxnStep::Committed, 0)] {
        let index = Index(41);
        let key = key_of_txn;
        segment.on_txn(TxnRecord {
            step,
            key,
            attempt,
            index,
        });
    }
    segment.chain.entries_end = 1024;
    let bounds = |start, end, last_time_ms| LogBounds {
        start,
        end,
        last_time_ms,
    };
    let idle = (4, LogId(1));
    let bounds = BTreeMap::from([(key, bounds(50, 104, 1_500)), (idle, bounds(2, 8, 900))]);
    (segment, bounds)
}

#[test]
fn the_layout_never_changes() {
    let (segment, bounds) = sample();
    let footer = Footer::encode(&segment, &bounds);
    let hex: String = footer
        .bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lines: Vec<_> = hex
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    assert_eq!(
        lines.join("\n"),
        include_str!("golden_footer.hex").trim_end()
    );
}

fn read_back(footer: &[u8], entries_end: u64) -> Result<Directory, BadEntry> {
    let file_bytes = entries_end + footer.len() as u64;
    let trailer = Trailer::decode(&footer[footer.len() - TRAILER_BYTES..], file_bytes)?;
    let at = (u64::from(trailer.directory_at) - entries_end) as usize;
    let directory = &footer[at..at + trailer.directory_bytes as usize];
    Directory::decode(&trailer, directory, file_bytes)
}

#[test]
fn a_footer_says_what_the_segment_knew() {
    let (segment, bounds) = sample();
    let footer = Footer::encode(&segment, &bounds);
    assert_eq!(footer.bytes.len() % 512, 0);
    let read = read_back(&footer.bytes, 1024).unwrap();
    assert_eq!(read.bounds, bounds);
    assert_eq!(read.segment.chain, segment.chain);
    assert_eq!(read.segment.stores, segment.stores);
    assert_eq!(read.segment.txns, segment.txns);
    let span = &read.segment.spans[&(3, LogId(7))];
    assert_eq!((span.first, span.end, span.op_count()), (100, 104, 2));
    assert_eq!(read.segment.spans.len(), 1);
    let mut file = vec![0; 1024];
    file.extend_from_slice(&footer.bytes);
    let file = rama_io::Mapping::new(file);
    assert_eq!(span.op(0, Some(&file)), Some((0, 568)));
    assert_eq!(span.op(1, Some(&file)), Some((3, 800)));
    assert_eq!(span.op(2, Some(&file)), None);
    assert_eq!(span.op_of(102, Some(&file)), 0);
    assert_eq!(span.op_of(103, Some(&file)), 1);
}

#[test]
fn every_flipped_bit_of_directory_and_trailer_is_noticed() {
    let (segment, bounds) = sample();
    let footer = Footer::encode(&segment, &bounds).bytes;
    let directory = 16 + 2 * 48 + 16 + 2 * 32;
    let trailer = footer.len() - TRAILER_BYTES;
    for byte in (0..directory).chain(trailer..footer.len()) {
        for bit in 0..8 {
            let mut damaged = footer.clone();
            damaged[byte] ^= 1 << bit;
            assert!(
                read_back(&damaged, 1024).is_err(),
                "bit {bit} of byte {byte}"
            );
        }
    }
}
